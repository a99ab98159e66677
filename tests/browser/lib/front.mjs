// A server in front of `peerage serve`, for stories that need more than a static origin: dynamic endpoints, answers
// that are slow, cut short or tampered with, and a count of what really went over the wire.
import http from 'node:http';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocketServer } from 'ws';

/** What the browser asked for and got, per path: `{requests, bytes, methods}`. */
export class Front {
  /** Listens on a free port and passes everything on to the server at `upstream` (a URL). */
  static async start(upstream) {
    const front = new Front();
    front.upstream = new URL(upstream);
    front.rules = [];
    front.seen = new Map();
    front.server = http.createServer((request, response) => front.#answer(request, response));
    front.server.on('upgrade', (request, socket, head) => front.#upgrade(request, socket, head));
    await new Promise(resolve => front.server.listen(0, '127.0.0.1', resolve));
    front.port = front.server.address().port;
    front.url = `http://127.0.0.1:${front.port}/`;
    return front;
  }

  /**
   * Answers the requests whose path is `path` (or matches it, where it is a RegExp) with `handler(request, response,
   * pass)`. `pass()` answers as the upstream does; `pass(change)` with what `change({status, headers, body})` makes of
   * it: a like object, and in it perhaps a `rate` in bytes a second, a `cut` where the connection breaks, or a `hang`
   * where it falls silent. Returns a function that takes the rule away.
   */
  when(path, handler) {
    const rule = { path, handler };
    this.rules.unshift(rule);
    return () => { this.rules = this.rules.filter(other => other !== rule); };
  }

  /** Adds the endpoints of a small application: `/api/echo`, `/api/form`, `/api/json`, `/api/events`, `/api/socket`. */
  addApplication() {
    let asked = 0;
    this.when('/api/echo', async (request, response) => {
      const body = await collect(request);
      response.writeHead(201, { 'content-type': request.headers['content-type'] ?? 'text/plain', 'x-method': request.method });
      response.end(body);
    });
    this.when('/api/form', async (request, response) => {
      const body = await collect(request);
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
      response.end(`<!doctype html><title>Form</title><link rel="icon" href="data:,"><p>${body}</p>`);
    });
    this.when('/api/json', (request, response) => {
      asked += 1;
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(JSON.stringify({ asked, search: new URL(request.url, this.url).search, cookie: request.headers.cookie ?? null }));
    });
    this.when('/api/events', (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      let sent = 0;
      const timer = setInterval(() => {
        sent += 1;
        response.write(`data: ${sent}\n\n`);
      }, 50);
      response.on('close', () => clearInterval(timer));
    });
    this.sockets = new WebSocketServer({ noServer: true });
    this.sockets.on('connection', socket => socket.on('message', data => socket.send(`echo ${data}`)));
  }

  requests(path) {
    return this.seen.get(path)?.requests ?? 0;
  }

  bytes(path) {
    return this.seen.get(path)?.bytes ?? 0;
  }

  /** Bodies' bytes of all paths that `wanted` accepts. */
  total(wanted) {
    let sum = 0;
    for (const [path, { bytes }] of this.seen) if (wanted(path)) sum += bytes;
    return sum;
  }

  async stop() {
    this.sockets?.close();
    this.server.closeAllConnections();
    await new Promise(resolve => this.server.close(resolve));
  }

  #answer(request, response) {
    const path = decoded(new URL(request.url, this.url).pathname);
    const seen = this.seen.get(path) ?? { requests: 0, bytes: 0, methods: [] };
    this.seen.set(path, seen);
    seen.requests += 1;
    seen.methods.push(request.method);
    const { write, end } = response;
    const count = chunk => { if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') seen.bytes += Buffer.byteLength(chunk); };
    response.write = (chunk, ...rest) => { count(chunk); return write.call(response, chunk, ...rest); };
    response.end = (chunk, ...rest) => { count(chunk); return end.call(response, chunk, ...rest); };
    const pass = change => this.#pass(request, response, change);
    const rule = this.rules.find(({ path: wanted }) => (typeof wanted === 'string' ? wanted === path : wanted.test(path)));
    if (rule === undefined) pass();
    else Promise.resolve(rule.handler(request, response, pass)).catch(() => response.destroy());
  }

  #pass(request, response, change) {
    const onward = http.request({
      host: this.upstream.hostname, port: this.upstream.port, path: request.url, method: request.method,
      headers: request.headers, agent: false,
    }, answer => {
      if (change === undefined) {
        response.writeHead(answer.statusCode, answer.headers);
        answer.on('data', chunk => { if (!response.write(chunk)) { answer.pause(); response.once('drain', () => answer.resume()); } });
        answer.on('end', () => response.end());
        answer.on('error', () => response.destroy());
        return;
      }
      // Whoever asked may be gone before the answer is complete.
      this.#answerChanged(request, response, answer, change).catch(() => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }

  async #answerChanged(request, response, answer, change) {
    const { status, headers, body, rate = Infinity, cut = Infinity, hang = Infinity } = change({
      status: answer.statusCode, headers: { ...answer.headers }, body: await collect(answer),
    });
    delete headers['transfer-encoding'];
    // What has no body keeps the length of what it speaks of.
    const bodiless = request.method === 'HEAD' || status === 304;
    response.writeHead(status, bodiless ? headers : { ...headers, 'content-length': body.length });
    if (bodiless || body.length === 0) {
      response.end();
      return;
    }
    const step = Math.max(1, Math.min(body.length, cut, Math.ceil(rate / 20)));
    if (hang < body.length) {
      response.write(body.subarray(0, hang));
      return;
    }
    for (let at = 0; at < Math.min(body.length, cut) && !response.destroyed; at += step) {
      response.write(body.subarray(at, Math.min(at + step, cut)));
      if (rate !== Infinity) await pause(50);
    }
    if (cut < body.length) setTimeout(() => response.destroy(), 100);
    else response.end();
  }

  #upgrade(request, socket, head) {
    if (new URL(request.url, this.url).pathname === '/api/socket' && this.sockets) {
      this.sockets.handleUpgrade(request, socket, head, connection => this.sockets.emit('connection', connection));
      return;
    }
    const onward = net.connect(Number(this.upstream.port), this.upstream.hostname, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
      onward.write(`${lines.join('\r\n')}\r\n\r\n`);
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [socket, onward]) end.on('error', () => { socket.destroy(); onward.destroy(); });
    socket.on('close', () => onward.destroy());
  }
}

/** A rule for {@link Front.when}: the right answer, at `rate` bytes a second. */
export function slowly(rate) {
  return (_, __, pass) => pass(answer => ({ ...answer, rate }));
}

/** A rule for {@link Front.when}: the right headers, and a connection that breaks after `bytes` of the body. */
export function cutAfter(bytes) {
  return (_, __, pass) => pass(answer => ({ ...answer, cut: bytes }));
}

/** A path decoded where that is possible. */
function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A worker whose clock goes ahead by the `hours` that a page sends it. */
export function withClock(front) {
  const clock = `{
    const { now } = Date;
    let ahead = 0;
    Date.now = () => now() + ahead;
    addEventListener('message', ({ data }) => { ahead += (data.hours ?? 0) * 3_600_000; });
  }\n`;
  front.when('/peerage-sw.js', (request, _, pass) => {
    delete request.headers['accept-encoding'];
    pass(answer => ({ ...answer, body: Buffer.concat([Buffer.from(clock), answer.body]) }));
  });
}
