"""Running untrusted programs against tests, and the verdict on each. It does not depend on models.

sandbox.py has the workers and ``judge``; limits.py what a program may use, also by what its reference used; worker.py runs one
program, zygote.py forks it, jail.py (with landlock.py and seccomp.py) confines it, candidate.py and tester.py are the two
sides, which exchange plain_data.py. evalplus_comparison.py decides when answers are equal. Imports of this package must be
light: a bare interpreter loads it inside the jail, from this folder and the standard library only.
"""
