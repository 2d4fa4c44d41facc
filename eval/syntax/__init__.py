"""Whether programs parse and compile, and the shapes of their trees."""
