"""Second implementations, written apart from the library, that tests compare with."""
