"""`python -m tests.simulation --seeds 20000`: the long form of the simulation."""

import sys

from pypelinin.testing.sim import main

sys.exit(main())
