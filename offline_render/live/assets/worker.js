// The reader's Python: a module, its files, and one interpreter that keeps what cells have made.
// `shim` (npm's browser_wasi_shim) stands before this text in the same script.
"use strict";
const encoder = new TextEncoder();
const decoder = new TextDecoder();
let instance, tmp, work, told, complained = [];

// The library is a folder where the module remembers a zip.
const START = `import sys, zipimport
zipimport._zip_directory_cache.clear()
sys.path_importer_cache.clear()
sys.path.insert(0, "/book")
import _live
_live.start()`;

const say = (kind, more) => postMessage({ kind, ...more });

const opened = (blob) => new Response(blob.stream().pipeThrough(new DecompressionStream("gzip")), {
  headers: { "Content-Type": "application/wasm" },
});

// A folder of the packed files: [path, start, length] each, in one buffer.
function tree(index, data) {
  const top = new Map();
  for (const [path, start, length] of index) {
    const names = path.split("/");
    const last = names.pop();
    let here = top;
    for (const name of names) {
      if (!here.has(name)) here.set(name, new Map());
      here = here.get(name);
    }
    here.set(last, data.subarray(start, start + length));
  }
  return top;
}

function folder(found) {
  const inside = new Map();
  for (const [name, entry] of found) {
    inside.set(name, entry instanceof Map ? folder(entry) : new shim.File(entry));
  }
  return new shim.Directory(inside);
}

const mounted = (name, directory) => new shim.PreopenDirectory(name, directory.contents);

// What Python writes arrives in pieces; each line is one thing to show.
class Lines extends shim.Fd {
  constructor(each) { super(); this.each = each; this.held = ""; this.reader = new TextDecoder(); }
  fd_fdstat_get() {
    return { ret: 0, fdstat: new shim.Fdstat(shim.FILETYPE_CHARACTER_DEVICE, 0) };
  }
  fd_filestat_get() {
    return { ret: 0, filestat: new shim.Filestat(0n, shim.FILETYPE_CHARACTER_DEVICE, 0n) };
  }
  fd_write(data) {
    const lines = (this.held + this.reader.decode(data, { stream: true })).split("\n");
    this.held = lines.pop();
    lines.forEach(this.each);
    return { ret: 0, nwritten: data.byteLength };
  }
}

// A call of the session: Python's words come through `Lines` while it runs.
function turn(code) {
  const bytes = encoder.encode(code);
  const at = instance.exports.host_alloc(bytes.length);
  new Uint8Array(instance.exports.memory.buffer).set(bytes, at);
  return instance.exports.turn(at, bytes.length);
}

async function start({ module, files, image }) {
  const [size] = new Uint32Array(files.slice(0, 4).buffer);
  const index = JSON.parse(decoder.decode(files.subarray(4, 4 + size)));
  const root = folder(tree(index, files.subarray(4 + size)));
  const at = (path) => path.split("/").reduce((here, name) => here.contents.get(name), root);
  tmp = new shim.Directory(new Map());
  work = new shim.Directory(new Map());
  const wasi = new shim.WASI(
    ["python"],
    ["TMPDIR=/tmp", "HOME=/tmp", "MPLCONFIGDIR=/tmp", "PYTHONTZPATH=", "PYTHONDONTWRITEBYTECODE=1", "NO_COLOR=1"],
    [
      new shim.OpenFile(new shim.File([])),
      new Lines((line) => told(line)),
      new Lines((line) => complained.push(line)),
      mounted("/usr/local/lib", at("usr/local/lib")),
      mounted("/book", at("book")),
      mounted("/tmp", tmp),
      mounted("/files", work),
    ],
  );
  instance = await WebAssembly.instantiate(module, {
    wasi_snapshot_preview1: wasi.wasiImport,
    host: { call: () => -1 },
  });
  wasi.inst = instance;
  if (image) {
    // what an interpreter held after its imports; nothing else tells it from a new one
    const memory = instance.exports.memory;
    const more = image.byteLength - memory.buffer.byteLength;
    if (more > 0) memory.grow(more / 65536);
    new Uint8Array(memory.buffer).set(image);
    return;
  }
  instance.exports._initialize?.();
  told = () => {};
  const status = turn(START);
  if (status) throw new Error(complained.slice(-30).join("\n"));
}

function run(job) {
  tmp.contents.set("cell.json", new shim.File(encoder.encode(JSON.stringify(job))));
  told = (line) => {
    let thing;
    try { thing = JSON.parse(line); } catch { thing = { kind: "text", name: "stdout", text: `${line}\n` }; }
    say("shown", { id: job.id, thing });
  };
  turn("import _live; _live.turn()");
}

async function begin({ module, files, compiled, image }) {
  say("progress", { words: compiled ? "Starting Python …" : "Unpacking Python …" });
  const both = [
    compiled || WebAssembly.compileStreaming(opened(module)),
    opened(files).arrayBuffer().then((buffer) => new Uint8Array(buffer)),
    image ? image.arrayBuffer().then((buffer) => new Uint8Array(buffer)) : null,
  ];
  const [ready, unpacked, memory] = await Promise.all(both);
  if (!compiled) say("compiled", { module: ready });
  if (!image) say("progress", { words: "Starting Python and its packages …" });
  await start({ module: ready, files: unpacked, image: memory });
  if (!image) say("image", { image: new Blob([instance.exports.memory.buffer]) });
  say("ready");
}

onmessage = async ({ data }) => {
  try {
    if (data.kind === "start") {
      await begin(data);
    } else if (data.kind === "file") {
      work.contents.set(data.path, new shim.File(data.content));
    } else if (data.kind === "run") {
      run(data.job);
      say("finished", { id: data.job.id });
    }
  } catch (error) {
    say("broken", { words: String(error?.message ?? error) });
  }
};
