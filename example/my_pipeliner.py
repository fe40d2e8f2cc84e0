"""A Pipeliner of the example: one is enough for many pipelines."""

import logging

from pypelinin import Pipeliner


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    pipeliner = Pipeliner(
        api="tcp://127.0.0.1:5555",
        broadcast="tcp://127.0.0.1:5556",
        logger=logging.getLogger("My Pipeliner"),
    )
    pipeliner.start()


if __name__ == "__main__":
    main()
