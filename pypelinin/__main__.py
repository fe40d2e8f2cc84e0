"""`python -m pypelinin` is the command `pypelinin`."""

import sys

from pypelinin.cli import main

if __name__ == "__main__":
    sys.exit(main())
