"""Prints every micro-expression event of a running session. Needs pyzmq and nothing else."""

import json
import sys

import zmq

reader = zmq.Context().socket(zmq.SUB)
reader.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5571")
reader.subscribe("sfam/")
while True:
    topic, header = reader.recv_multipart()[:2]
    message = json.loads(header)
    if topic.endswith(b"/event"):
        print(message["state"], message["kind"], message["emotion"], message["onset"]["frame"], flush=True)
    elif topic.endswith(b"/session") and message["state"] in ("ended", "failed"):
        break
