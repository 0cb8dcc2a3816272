"""fastnn paired with its peers: same work, same threads, in turn, each in a process of its own."""
