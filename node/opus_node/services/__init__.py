"""Users' programs beside the node (docs/services.md).

    core --RoleChanged--> Supervisor: files fetched (store), program started, watched, stopped --ServiceHealth--> core
    core --Serve--> exchange with the program --Served--> core
    a user's client --> Gateway --Request--> core ... --ClientReply--> Gateway --> the client     (HTTP: a request an exchange)
    a user's client --> Gateway == connection ==> Door of the replica that answered == program    (TCP: routed, then relayed)

The core decides who serves and who answers; nothing here does.
"""
