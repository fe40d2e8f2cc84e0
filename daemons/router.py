"""The Router of your cluster: copy this file, edit the values, start it first; one is enough."""

import logging

from pypelinin import Router

API = ("127.0.0.1", 5555)  # where everybody reaches it; port 0 is any free one
BROADCAST = ("127.0.0.1", 5556)

CONFIGURATION = {
    # Every Broker creates its store as StoreClass(**store).
    "store": {"directory": "results"},
    # Seconds between the samples of hosts and processes that Brokers give to their store; 0: none.
    "monitoring interval": 60,
    # Everything that was accepted stands here, and goes on when the Router is started again.
    "journal": ".pypelinin",
    # "full": what is accepted survives a power cut; "normal": a crash of processes.
    "synchronous": "full",
    # True lets API and BROADCAST be on an interface that other machines reach. Whoever reaches it
    # can run code on your Brokers: only in a network that is yours alone.
    "insecure": False,
}


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    router = Router(
        api_host_port=API,
        broadcast_host_port=BROADCAST,
        config=CONFIGURATION,
        logger=logging.getLogger("Router"),
    )
    router.start()  # until SIGTERM or Ctrl-C


if __name__ == "__main__":
    main()
