"""What pytest leaves alone here."""

# Nothing in it is a test, and it needs autograd, which is optional.
collect_ignore = ["generator.py"]
