import os, sys
import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(port=int(os.environ["PORT"])))


@dramatiq.actor
def no_op(payload):
    pass


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        no_op.send("x" * 100)
