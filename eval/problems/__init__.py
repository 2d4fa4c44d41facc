"""Problems that are solved by writing a program, as benchmarks publish them: HumanEval, MBPP, their Plus forms, infilling.

What a model is shown of one is in ``prompting``, running its tests in ``sandbox``.
"""
