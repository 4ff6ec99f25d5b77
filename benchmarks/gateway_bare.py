"""The least a proxy in this language does: bytes in, bytes out, on the libraries the gateway stands on. No keys, no arms, no counts.

`python -m benchmarks.gateway_bare URL`: a yardstick for machines that are slower, or busier, than the one a goal was set on.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import ClientSession, TCPConnector, web


async def main(server: str) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        body, headers = await request.read(), {"content-type": "application/json"}
        async with session.post(f"{server}/chat/completions", data=body, headers=headers) as answer:
            out = web.StreamResponse(headers={"content-type": answer.headers["content-type"]})
            await out.prepare(request)
            async for chunk in answer.content.iter_any():
                await out.write(chunk)
            await out.write_eof()
            return out

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
