"""RATE messages a second of each user; each waits for its answer, which is all that a Locust user can do."""

import os
import time

from locust import User, constant_throughput, task
from websocket import create_connection


class Talker(User):
    wait_time = constant_throughput(float(os.environ["RATE"]))

    def on_start(self):
        self.socket = create_connection(os.environ["URL"], timeout=10)
        self.number = 0

    def on_stop(self):
        self.socket.close()

    @task
    def talk(self):
        text = f"{self.number}:" + "x" * 45
        self.number += 1
        begin = time.perf_counter()
        problem = None
        try:
            self.socket.send(text)
            if self.socket.recv() != text:
                problem = ValueError("another answer")
        except Exception as error:
            problem = error
        self.environment.events.request.fire(
            request_type="ws",
            name="echo",
            response_time=(time.perf_counter() - begin) * 1000,
            response_length=len(text),
            exception=problem,
        )
