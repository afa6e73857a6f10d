// Hands Quarto the results of cells that the pre-render step has run: one run for all formats.
// Everything after that (options, captions, figures, output) is Quarto's own work on a notebook.

let quarto;

const NOTEBOOKS = ".handbook/quarto";
const STEP = "offline_render/pre_render.py";

const slashes = (path) => path.replaceAll("\\", "/");

/** The document's path relative to the project, with forward slashes. */
function place(projectDir, file) {
  const root = slashes(projectDir).replace(/\/$/, "") + "/";
  const path = slashes(quarto.path.absolute(file));
  return path.startsWith(root) ? path.slice(root.length) : path;
}

async function digest(path) {
  const bytes = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** The notebook of a document, or undefined where there is none that was made from its text. */
async function kept(path, source) {
  try {
    const book = quarto.jupyter.fromJSON(await Deno.readTextFile(path));
    return book.metadata?.handbook?.source === (await digest(source)) ? book : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function executed(projectDir, file) {
  const document = place(projectDir, file);
  const path = `${slashes(projectDir)}/${NOTEBOOKS}/${document.replace(/\.qmd$/, ".ipynb")}`;
  const found = await kept(path, file);
  if (found) return found;
  // The text changed since the pre-render step, or that step was left out.
  const [program, ...first] = await quarto.jupyter.pythonExec();
  const command = new Deno.Command(program, {
    args: [...first, STEP, document],
    cwd: projectDir,
    stdout: "inherit",
    stderr: "inherit",
  });
  const { success } = await command.output();
  const made = success ? await kept(path, file) : undefined;
  if (!made) throw new Error(`${document}: its cells could not be run; see the message above.`);
  return made;
}

async function execute(options) {
  const assets = quarto.jupyter.assets(options.target.input, options.format.pandoc.to);
  const run = options.format.execute.enabled !== false;
  if (!run) {
    return { engine: "handbook", markdown: options.target.markdown.value, supporting: [], filters: [] };
  }
  const book = await executed(options.projectDir, options.target.source);
  const result = await quarto.jupyter.toMarkdown(book, {
    executeOptions: options,
    language: "python",
    assets,
    execute: options.format.execute,
    keepHidden: options.format.render["keep-hidden"],
    toHtml: quarto.format.isHtmlCompatible(options.format),
    toLatex: quarto.format.isLatexOutput(options.format.pandoc),
    toMarkdown: quarto.format.isMarkdownOutput(options.format),
    toIpynb: quarto.format.isIpynbOutput(options.format.pandoc),
    toPresentation: quarto.format.isPresentationOutput(options.format.pandoc),
    figFormat: options.format.execute["fig-format"],
    figDpi: options.format.execute["fig-dpi"],
    figPos: options.format.render["fig-pos"],
  });
  const includes = options.dependencies
    ? quarto.jupyter.resultIncludes(options.tempDir, result.dependencies)
    : undefined;
  return {
    engine: "handbook",
    markdown: result.cellOutputs.map((output) => output.markdown).join(""),
    supporting: [`${assets.base_dir}/${assets.supporting_dir}`],
    filters: [],
    pandoc: result.pandoc,
    includes,
    preserve: result.htmlPreserve,
    postProcess: result.htmlPreserve && Object.keys(result.htmlPreserve).length > 0,
  };
}

export default {
  init: (api) => {
    quarto = api;
  },
  name: "handbook",
  quartoRequired: ">=1.9.0",
  defaultExt: ".qmd",
  defaultYaml: () => [],
  defaultContent: () => ["```{python}", "1 + 1", "```"],
  validExtensions: () => [],
  claimsFile: () => false,
  // Above the score of Quarto's own Jupyter engine.
  claimsLanguage: (language) => (language === "python" ? 2 : false),
  canFreeze: false,
  generatesFigures: true,
  ignoreDirs: () => [".handbook", ".venv"],
  launch: () => ({
    name: "handbook",
    canFreeze: false,
    partitionedMarkdown: (file) =>
      Promise.resolve(quarto.markdownRegex.partition(Deno.readTextFileSync(file))),
    executeTargetSkipped: () => {},
    dependencies: () => Promise.resolve({ includes: {} }),
    postprocess: (options) => {
      quarto.text.postProcessRestorePreservedHtml(options);
      return Promise.resolve();
    },
    canKeepSource: () => true,
    markdownForFile: (file) => Promise.resolve(quarto.mappedString.fromFile(file)),
    target: (file, _quiet, markdown) => {
      const text = markdown ?? quarto.mappedString.fromFile(file);
      const metadata = quarto.markdownRegex.extractYaml(text.value);
      return Promise.resolve({ source: file, input: file, markdown: text, metadata });
    },
    execute,
  }),
};
