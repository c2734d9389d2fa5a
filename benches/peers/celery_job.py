import os, sys
from celery import Celery

app = Celery("celery_job", broker=f"redis://127.0.0.1:{os.environ['PORT']}/2")
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 64


@app.task
def no_op(payload):
    pass


if __name__ == "__main__":
    with app.producer_pool.acquire() as producer:
        for _ in range(int(sys.argv[1])):
            no_op.apply_async(("x" * 100,), producer=producer)
