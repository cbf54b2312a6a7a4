"""``python -m tinygrad_nn``: the command line."""

from tinygrad_nn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
