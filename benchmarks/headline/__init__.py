"""The headline demonstration: one short text, pushed to 100 000 clients at once.

``python -m benchmarks headline`` starts a web service (`service`), the proxies in front of it (`proxies`)
and the clients (`crowd`), sets headlines, and prints how long they took to reach everybody.
"""
