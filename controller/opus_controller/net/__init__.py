"""The emulated network: namespaces, addresses, and the two kinds of links, netem and userspace."""
