"""bqemulator, with one request at a time.

It answers requests side by side on one connection of DuckDB, where the answer of one is lost to the next, and a
rollback takes back what others wrote. A request is carried out whole, also when its client is gone meanwhile: that is
how the real service treats a job.
"""

import asyncio

import bqemulator.server as server
from bqemulator.cli import main


class OneAtATime:
    def __init__(self, app):
        self.app = app
        self.turn = asyncio.Lock()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        await asyncio.shield(asyncio.create_task(self.whole(scope, receive, send)))

    async def whole(self, scope, receive, send):
        async with self.turn:
            await self.app(scope, receive, send)


create_app = server.create_app


def create_app_with_turns(context):
    app = create_app(context)
    app.add_middleware(OneAtATime)
    return app


server.create_app = create_app_with_turns
main()
