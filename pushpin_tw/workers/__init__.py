"""Several processes that are one pushpin: ``[tw] workers``.

The *parent* owns what there can be only one of: the ways to publish, commands, statistics, the descriptors on
which clients come in.  Each *worker* is a whole pushpin with clients, holds and connections to origins of its
own.  A *link*, a pair of sockets, joins the parent with each worker; nothing else is shared.
"""
