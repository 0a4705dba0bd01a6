"""The HTTP side: the socket, who may use it, how much may be sent, and the API for programs."""
