"""The controller: compiles scenarios into plans, brings them alive, breaks them on purpose, and reports."""
