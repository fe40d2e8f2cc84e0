"""The world: clocks, sockets, processes, files. Everything that does, nothing that decides."""
