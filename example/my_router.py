"""The Router of the example: start it first, one for the whole cluster."""

import logging
from pathlib import Path

from pypelinin import Router

# Where the results go. Brokers on several machines need a directory that all of them can write.
RESULTS = Path(__file__).resolve().parent / "result"

CONFIGURATION = {
    # Every Broker creates its store as SimpleFileStore(**store).
    "store": {
        "directory": str(RESULTS),
        "monitoring filename": str(RESULTS / "monitoring.log"),
    },
    "monitoring interval": 60,
}


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    router = Router(
        api_host_port=("127.0.0.1", 5555),
        broadcast_host_port=("127.0.0.1", 5556),
        config=CONFIGURATION,
        logger=logging.getLogger("My Router"),
    )
    router.start()


if __name__ == "__main__":
    main()
