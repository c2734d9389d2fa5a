import os, sys


def no_op(payload):
    pass


if __name__ == "__main__":
    from redis import Redis
    from rq import Queue
    import rq_job

    queue = Queue("default", connection=Redis(port=int(os.environ["PORT"])))
    for _ in range(int(sys.argv[1]) // 500):
        queue.enqueue_many([Queue.prepare_data(rq_job.no_op, ("x" * 100,)) for _ in range(500)])
