"""A Pipeliner of your cluster: copy this file, edit the address; start any number of them."""

import logging

from pypelinin import Pipeliner

API = "tcp://127.0.0.1:5555"  # the Router's


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    pipeliner = Pipeliner(api=API, logger=logging.getLogger("Pipeliner"))
    pipeliner.start()  # until SIGTERM or Ctrl-C


if __name__ == "__main__":
    main()
