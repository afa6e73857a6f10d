// Python in a worker: fetched once, kept between visits where the browser lets a page keep files.
(function () {
  "use strict";
  const live = window.handbookLive;
  let worker = null, held = null, starting = null, waiting = null, name = "";
  const sent = new Map();

  // Scripts hold bytes as characters of seven bits; those that a string can't hold lie higher up.
  live.take = (text, length) => {
    const out = new Uint8Array(length);
    let at = 0, bits = 0, have = 0;
    for (let k = 0; at < length; k++) {
      bits = (bits << 7) | (text.charCodeAt(k) & 127);
      have += 7;
      if (have >= 8) { have -= 8; out[at++] = bits >> have; bits &= (1 << have) - 1; }
    }
    live.taken = out;
  };

  // What is kept between visits: IndexedDB, which a page of a folder has too.
  const store = () => new Promise((done, failed) => {
    const request = indexedDB.open("handbook-live", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("runtime");
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
  const asked = (request) => new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
  async function recall() {
    try {
      const found = await asked((await store()).transaction("runtime").objectStore("runtime").get(live.runtime.digest));
      return found || null;
    } catch (error) { return null; }
  }
  async function keep(kept) {
    try {
      const shelf = (await store()).transaction("runtime", "readwrite").objectStore("runtime");
      shelf.clear();
      await asked(shelf.put(kept, live.runtime.digest));
    } catch (error) { /* no room, or a private window: it is fetched again */ }
  }

  async function fetched(progress) {
    const { module, files, size } = live.runtime;
    const parts = { module: [], files: [] };
    let had = 0;
    for (const [kind, count] of [["module", module], ["files", files]]) {
      for (let k = 0; k < count; k++) {
        progress(`Loading Python: ${(had / 1e6).toFixed(0)} of ${(size / 1e6).toFixed(0)} MB, once`);
        await live.load(`${kind}-${k}.js`);
        had += live.taken.length;
        parts[kind].push(live.taken);
        live.taken = null;
      }
    }
    return { module: new Blob(parts.module), files: new Blob(parts.files) };
  }

  function begin(message) {
    worker ||= new Worker(name);
    worker.onmessage = ({ data }) => {
      if (data.kind === "progress") waiting?.progress(data.words);
      else if (data.kind === "compiled") held = { ...held, compiled: data.module };
      else if (data.kind === "image") {
        held = { ...held, image: data.image };
        keep({ module: held.module, files: held.files, image: data.image });
      } else if (data.kind === "ready") waiting?.done();
      else if (data.kind === "shown") sent.get(data.id)?.shown(data.thing);
      else if (data.kind === "finished") sent.get(data.id)?.finished();
      else if (data.kind === "broken") { stop(); fail(new Error(data.words)); }
    };
    worker.onerror = (event) => { stop(); fail(new Error(event.message)); };
    worker.postMessage(message);
  }

  function fail(error) {
    waiting?.failed(error);
    for (const job of sent.values()) job.failed(error);
    sent.clear();
  }

  // A worker with an interpreter that has its imports done.
  function start(progress) {
    return starting ||= (async () => {
      await Promise.all([live.load("runtime.js"), live.load("worker.js")]);
      name ||= URL.createObjectURL(new Blob([live.worker], { type: "text/javascript" }));
      held ||= await recall() || await fetched(progress);
      progress("Starting Python …");
      await new Promise((done, failed) => {
        waiting = { done, failed, progress };
        begin({ kind: "start", ...held });
      });
      for (const [path, content] of live.own) worker.postMessage({ kind: "file", path, content });
    })().catch((error) => { stop(); throw error; });
  }

  function stop() {
    worker?.terminate();
    worker = starting = null;
    const stopped = new Error("stopped");
    for (const job of sent.values()) job.failed(stopped);
    sent.clear();
    python.session += 1;
  }

  let count = 0;
  async function run(job, shown) {
    const id = ++count;
    await new Promise((finished, failed) => {
      sent.set(id, { shown, finished, failed });
      worker.postMessage({ kind: "run", job: { ...job, id } });
    }).finally(() => sent.delete(id));
  }

  // The reader's own files: they go from the page to the worker and nowhere else.
  const put = (path, content) => worker?.postMessage({ kind: "file", path, content });

  const python = live.python = { start, stop, run, put, session: 0 };
})();
