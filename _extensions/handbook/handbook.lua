--[[ Self-checks: quizzes and reflections, for Quarto and for plain pandoc.

    ::: {.quiz}                              ::: {.reflection}
    The question.                            The question.

    - [ ] an option                          ::: {.model-answer}
                                             The answer.
      Why it is wrong.                       :::
                                             :::
    - [x] the right option

      Why it is right.

    ::: {.hint}                              ::: {.answer-key}
    Optional.                                :::
    :::
    :::

In HTML each answer stands in a fold under its question; quiz.js makes a live form of it. In every
other format the questions are numbered within their chapter, and the answers move to `.answer-key`,
or to the end of the document where there is none. More than one [x] makes a question with several
right options. Exercises are in exercises.lua, beside this file.

Also here: `::: {.proof summary="..."}`, a fold on the web that paper leaves out; headings with
`.optional`, which say so in their title; code of a figure (`code-fold`), which paper leaves out; and
the letters above the glossary on the web.
]]

-- The embedded renderer passes a document tree on to its own steps, and says here what it is for.
local FORMAT = os.getenv("HANDBOOK_FORMAT") or FORMAT

local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
local UNCHECKED, CHECKED = "☐", "☒" -- what pandoc makes of [ ] and [x]
local CHOOSE_ALL = "Choose every option that is right."

-- Reading and checking the source --------------------------------------------------------------

local function first_words(blocks)
  local words = {}
  for word in pandoc.utils.stringify(blocks):gmatch("%S+") do
    if #words == 8 then return table.concat(words, " ") .. " …" end
    words[#words + 1] = word
  end
  return table.concat(words, " ")
end

-- Stop the build. Level 0 keeps Lua's own line number out: it says nothing to an author.
local function refuse(kind, div, remedy)
  error(("%s “%s”: %s"):format(kind, first_words(div.content), remedy), 0)
end

local function box_of(item)
  local first = item[1]
  if first and (first.t == "Para" or first.t == "Plain") and first.content[1] then
    local text = first.content[1].text
    if text == CHECKED or text == UNCHECKED then return text end
  end
end

local function after_box(item)
  local label = pandoc.Inlines(item[1].content)
  label:remove(1)
  if label[1] and label[1].t == "Space" then label:remove(1) end
  return label
end

local function is_options(block)
  if block.t ~= "BulletList" then return false end
  for _, item in ipairs(block.content) do
    if box_of(item) then return true end
  end
  return false
end

local function read_option(item, letter, div)
  local box = box_of(item)
  if not box then
    refuse("Quiz", div, "option " .. letter .. " has no box. Begin it with [ ] or [x].")
  end
  local label = after_box(item)
  local why = pandoc.Blocks({ table.unpack(item, 2) })
  if #label == 0 then
    refuse("Quiz", div, "option " .. letter .. " has no text. Write it after its box.")
  end
  if #why == 0 then
    refuse("Quiz", div, "option " .. letter .. " has no explanation. Below it, after an empty "
      .. "line, write why it is right or wrong, indented by two spaces.")
  end
  return { letter = letter, right = box == CHECKED, label = label, why = why }
end

local function read_quiz(div)
  local quiz = { question = pandoc.Blocks({}), options = {}, right = {} }
  for _, block in ipairs(div.content) do
    if is_options(block) then
      if #quiz.options > 0 then
        refuse("Quiz", div, "its options fall into two lists. Indent explanations by two spaces.")
      end
      for i, item in ipairs(block.content) do
        local option = read_option(item, LETTERS:sub(i, i), div)
        quiz.options[i] = option
        if option.right then table.insert(quiz.right, option.letter) end
      end
    elseif block.t == "Div" and block.classes:includes("hint") then
      quiz.hint = block.content
    elseif #quiz.options > 0 then
      refuse("Quiz", div, "there is text after the options. Indent an explanation by two spaces; "
        .. "put other text before the options.")
    else
      quiz.question:insert(block)
    end
  end
  if #quiz.question == 0 then
    refuse("Quiz", div, "it has no question. Write it above the options.")
  end
  if #quiz.options < 2 then
    refuse("Quiz", div, "it needs two options or more, each begun with [ ] or [x].")
  end
  if #quiz.right == 0 then
    refuse("Quiz", div, "no option is right. Mark the right one with [x].")
  end
  return quiz
end

local function read_reflection(div)
  local reflection = { question = pandoc.Blocks({}) }
  for _, block in ipairs(div.content) do
    if block.t == "Div" and block.classes:includes("model-answer") then
      reflection.answer = block.content
    else
      reflection.question:insert(block)
    end
  end
  if #reflection.question == 0 then
    refuse("Reflection", div, "it has no question. Write it above the model answer.")
  end
  if not reflection.answer or #reflection.answer == 0 then
    refuse("Reflection", div, "it has no model answer. Add a ::: {.model-answer} block inside it.")
  end
  return reflection
end

-- Small builders -------------------------------------------------------------------------------

-- Put inlines before the text of the first paragraph, or in a paragraph of their own.
local function prefixed(inlines, blocks)
  local first = blocks[1]
  local out = pandoc.Blocks({})
  if first and (first.t == "Para" or first.t == "Plain") then
    out:insert(pandoc.Para(pandoc.Inlines(inlines) .. { pandoc.Space() } .. first.content))
    out:extend(pandoc.Blocks({ table.unpack(blocks, 2) }))
  else
    out:insert(pandoc.Para(inlines))
    out:extend(blocks)
  end
  return out
end

local function listed(letters)
  if #letters < 2 then return letters[1] end
  return table.concat(letters, ", ", 1, #letters - 1) .. " and " .. letters[#letters]
end

-- HTML -----------------------------------------------------------------------------------------

local function html(text) return pandoc.RawBlock("html", text) end
local function tag(text) return pandoc.RawInline("html", text) end

local function html_option(quiz, option)
  local id = quiz.id .. "-" .. option.letter:lower()
  local kind = #quiz.right > 1 and "checkbox" or "radio"
  local open = ('<input type="%s" id="%s" name="%s" value="%s" hidden disabled>'
    .. '<label for="%s"><span class="hb-letter">%s</span> <span class="hb-text">')
    :format(kind, id, quiz.id, option.letter, id, option.letter)
  local line = pandoc.Inlines({ tag(open) }) .. option.label .. { tag("</span></label>") }
  local right = tostring(option.right)
  return pandoc.Div({ pandoc.Plain(line) }, { "", { "hb-option" }, { ["data-hb-right"] = right } })
end

local function html_why(quiz, option)
  local verdict = '<strong class="%s"><span aria-hidden="true">%s</span> %s %s.</strong>'
  if option.right then
    verdict = verdict:format("hb-yes", "✓", option.letter, "is right")
  else
    verdict = verdict:format("hb-no", "✗", option.letter, "is not right")
  end
  local blocks = prefixed({ tag(verdict) }, option.why)
  return pandoc.Div(blocks, { quiz.id .. "-" .. option.letter:lower() .. "-why", { "hb-why" } })
end

local function html_quiz(quiz)
  local kicker = '<legend><span class="hb-kicker">Question ' .. quiz.number .. "</span>"
  local legend = pandoc.Inlines({ tag(kicker) })
  local more = pandoc.Blocks({})
  for _, block in ipairs(quiz.question) do
    if #more == 0 and (block.t == "Para" or block.t == "Plain") then
      legend:extend({ tag(' <span class="hb-question">') } .. block.content .. { tag("</span>") })
    else
      more:insert(block)
    end
  end
  legend:insert(tag("</legend>"))

  local out = pandoc.Blocks({ html('<form class="hb-form" autocomplete="off">') })
  local described = #more > 0 and (' aria-describedby="%s-more"'):format(quiz.id) or ""
  out:insert(html("<fieldset" .. described .. ">"))
  out:insert(pandoc.Plain(legend))
  if #more > 0 then out:insert(pandoc.Div(more, { quiz.id .. "-more", { "hb-more" } })) end
  if #quiz.right > 1 then out:insert(html('<p class="hb-how">' .. CHOOSE_ALL .. "</p>")) end
  out:insert(html('<div class="hb-options">'))
  for _, option in ipairs(quiz.options) do out:insert(html_option(quiz, option)) end
  out:insert(html("</div></fieldset>"))
  if quiz.hint then
    out:insert(html('<details class="hb-fold hb-hint"><summary>Hint</summary>'))
    out:extend(quiz.hint)
    out:insert(html("</details>"))
  end
  out:insert(html('<div class="hb-actions" hidden>'
    .. '<button type="submit" class="hb-check">Check answer</button>'
    .. '<button type="button" class="hb-again" hidden>Try again</button>'
    .. '<button type="button" class="hb-show">Show answer</button></div>'
    .. '<div class="hb-feedback" role="status" aria-live="polite"></div></form>'))
  out:insert(html('<details class="hb-fold hb-answer" data-search-ignore>'
    .. "<summary>Answer and explanations</summary>"))
  local which = #quiz.right > 1 and "Right answers: " or "Right answer: "
  out:insert(pandoc.Para({ pandoc.Str(which), pandoc.Strong({ pandoc.Str(listed(quiz.right)) }) }))
  for _, option in ipairs(quiz.options) do out:insert(html_why(quiz, option)) end
  out:insert(html("</details>"))
  return pandoc.Div(out, { quiz.id, { "hb-quiz" }, { ["data-hb-key"] = quiz.key } })
end

local function html_reflection(reflection)
  local out = pandoc.Blocks({ html('<p class="hb-kicker">Reflection</p>') })
  out:insert(pandoc.Div(reflection.question, { reflection.id .. "-question", { "hb-question" } }))
  out:insert(html('<details class="hb-fold hb-model" data-search-ignore>'
    .. "<summary>Model answer</summary>"))
  out:extend(reflection.answer)
  out:insert(html("</details>"))
  local attributes = { ["data-hb-key"] = reflection.key }
  return pandoc.Div(out, { reflection.id, { "hb-reflection" }, attributes })
end

-- Print: the question here, the answer in the key -----------------------------------------------

local QUESTION = "breakable: false, above: 1.6em, below: 1.6em, inset: (left: 1em, y: 0.2em), "
  .. "stroke: (left: 1.5pt + luma(65%))"
local ANSWER = "above: 1.2em, below: 1.2em"

-- Set blocks off from the text, as a target of links.
local function framed(blocks, id, look)
  if FORMAT ~= "typst" then return pandoc.Blocks({ pandoc.Div(blocks, { id }) }) end
  local out = pandoc.Blocks({ pandoc.RawBlock("typst", "#block(width: 100%, " .. look .. ")[") })
  out:extend(blocks)
  out:insert(pandoc.RawBlock("typst", "] <" .. id .. ">"))
  return out
end

-- The end of a page must not part a question from its first option, or a heading from its answer.
local function kept_with_next(blocks)
  if FORMAT ~= "typst" then return blocks end
  local out = pandoc.Blocks({ pandoc.RawBlock("typst", "#block(sticky: true)[") })
  out:extend(blocks)
  out:insert(pandoc.RawBlock("typst", "]"))
  return out
end

local PAGE = [=[#text(size: 0.85em)[%s on page #context {
  let place = locate(<%s>)
  let style = place.page-numbering()
  numbering(if style == none { "1" } else { style }, counter(page).at(place).first())
}]]=]

local function link_to_answer(item, word)
  local target = "answer-" .. item.id
  local text = pandoc.Str(word or "Answer")
  if FORMAT == "typst" then
    text = pandoc.RawInline("typst", PAGE:format(word or "Answer", target))
  end
  return pandoc.Para({ pandoc.Link({ text }, "#" .. target) })
end

local function print_quiz(quiz)
  local out = pandoc.Blocks({})
  local title = pandoc.Strong({ pandoc.Str("Question " .. quiz.number .. ".") })
  out:extend(kept_with_next(prefixed({ title }, quiz.question)))
  if #quiz.right > 1 then
    out:extend(kept_with_next({ pandoc.Para({ pandoc.Emph({ pandoc.Str(CHOOSE_ALL) }) }) }))
  end
  local items = {}
  for i, option in ipairs(quiz.options) do items[i] = { pandoc.Plain(option.label) } end
  out:insert(pandoc.OrderedList(items, pandoc.ListAttributes(1, "UpperAlpha", "Period")))
  if quiz.hint then out:extend(prefixed({ pandoc.Emph({ pandoc.Str("Hint.") }) }, quiz.hint)) end
  out:insert(link_to_answer(quiz))
  return framed(out, quiz.id, QUESTION)
end

local function print_reflection(reflection)
  local title = pandoc.Strong({ pandoc.Str("Reflection " .. reflection.number .. ".") })
  local out = prefixed({ title }, reflection.question)
  out:insert(link_to_answer(reflection))
  return framed(out, reflection.id, QUESTION)
end

-- Exercises have a file of their own, beside this one whoever loads it.
local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local exercises = assert(loadfile(folder .. "exercises.lua"))({
  refuse = refuse, is_options = is_options, html = html, tag = tag, prefixed = prefixed,
  framed = framed, listed = listed, choose_all = CHOOSE_ALL,
  kept_with_next = kept_with_next, link_to_answer = link_to_answer,
  -- "right" or "wrong" by an option's box, and the words after it
  box_of = function(item)
    local box = box_of(item)
    return box and (box == CHECKED and "right" or "wrong"), box and after_box(item)
  end,
})

local NAMES = { quiz = "Question", reflection = "Reflection", exercise = "Exercise" }

local function key_entry(item)
  local name = NAMES[item.sort] .. " " .. item.number
  local link = pandoc.Link({ pandoc.Str(name) }, "#" .. item.id)
  local title = { pandoc.Strong({ link }), pandoc.Str(":"), pandoc.Space() }
  local out = pandoc.Blocks({})
  if item.sort == "exercise" then
    title = pandoc.Inlines(title) .. exercises.key_words(item)
    out:extend(kept_with_next({ pandoc.Para(title) }))
    out:extend(item.solution)
  elseif item.sort == "quiz" then
    table.insert(title, pandoc.Strong({ pandoc.Str(listed(item.right)) }))
    out:extend(kept_with_next({ pandoc.Para(title) }))
    local items = {}
    for i, option in ipairs(item.options) do
      local verdict = option.right and "Right." or "Not right."
      items[i] = prefixed({ pandoc.Strong({ pandoc.Str(verdict) }) }, option.why)
    end
    out:insert(pandoc.OrderedList(items, pandoc.ListAttributes(1, "UpperAlpha", "Period")))
  else
    table.insert(title, pandoc.Str("model answer"))
    out:extend(kept_with_next({ pandoc.Para(title) }))
    out:extend(item.answer)
  end
  if FORMAT == "typst" then out:insert(1, pandoc.RawBlock("typst", "#set text(size: 0.9em)")) end
  return framed(out, "answer-" .. item.id, ANSWER)
end

local function answer_key(chapters, level)
  local out = pandoc.Blocks({})
  for i, chapter in ipairs(chapters) do
    if chapter.title and #chapter.items > 0 then
      local attr = { "answers-" .. i, { "unnumbered", "unlisted" } }
      out:insert(pandoc.Header(math.min(level, 6), chapter.title, attr))
    end
    for _, item in ipairs(chapter.items) do out:extend(key_entry(item)) end
  end
  return out
end

-- Index of the PDF ----------------------------------------------------------------------------

-- Public names of the package; a test compares them with it.
local FUNCTIONS = {}
for name in ([[
  BoxCox Check LMMResults SeveralResults Table agreement_records agreement_summary
  anova_components blups boxcox_lmm center_within check_convergence check_singular coef_table
  compare_groups contextual_effect contrast cross_products crosscheck describe design_effect
  fit_lmm icc influence information_criteria lmer load lrt marginal_means parametric_bootstrap
  plots power predict profile_ci r_squared refit report residuals sample_size shrinkage_factor
  simulate simulate_power table tolerance_table variance_components variance_function
]]):gmatch("%S+") do FUNCTIONS[name] = true end

-- The glossary's words for each term, by its address.
local function glossary_terms(blocks)
  local terms = {}
  blocks:walk({ DefinitionList = function(list)
    for _, item in ipairs(list.content) do
      local words = pandoc.utils.stringify(item[1])
      pandoc.Plain(item[1]):walk({ Span = function(span)
        if span.identifier:match("^gls%-") then terms[span.identifier] = words end
      end })
    end
  end })
  return terms
end

-- The letters of the glossary, each with the way to its first term; those of no term are plain.
local function letters(list)
  local first = {}
  for _, item in ipairs(list.content) do
    local letter = pandoc.utils.stringify(item[1]):sub(1, 1):upper()
    pandoc.Plain(item[1]):walk({ Span = function(span)
      if span.identifier:match("^gls%-") then first[letter] = first[letter] or span.identifier end
    end })
  end
  if next(first) == nil then return nil end
  local words = {}
  for letter in LETTERS:gmatch(".") do
    local there = first[letter]
    table.insert(words, there and ('<a href="#%s">%s</a>'):format(there, letter)
      or ("<span>%s</span>"):format(letter))
  end
  return pandoc.RawBlock("html", '<nav class="hb-letters" aria-label="Letters of the glossary">'
    .. table.concat(words, " ") .. "</nav>")
end

-- A mark that the index of the PDF finds.
local function index_mark(kind, words)
  local safe = words:gsub("\\", "\\\\"):gsub('"', '\\"')
  return pandoc.RawInline("typst", ('#metadata(("%s", "%s"))<hb-index>'):format(kind, safe))
end

-- The filter -----------------------------------------------------------------------------------

-- A heading's words alone: its notes and its link targets must not stand twice in the book.
local function plain_title(header)
  return header.content:walk({
    Note = function() return {} end,
    Link = function(link) return link.content end,
    Span = function(span) return span.content end,
  })
end

-- The words of a question that are the same whichever renderer reads them: references come resolved
-- from the embedded one, and it writes some formulas anew for pandoc.
local function own_words(blocks)
  return pandoc.utils.stringify(blocks:walk({
    Cite = function() return {} end,
    Link = function(link) if link.classes:includes("hb-ref") then return {} end end,
    Math = function(math)
      local tex = math.text:gsub("\\text{,}", "{,}"):gsub("\\left|", "|"):gsub("\\right|", "|")
      return pandoc.Str(tex)
    end,
  }))
end

-- Name what is not named, count within the chapter, and give the key under which a browser keeps an
-- answer: a digest of the text, so that it survives moved pages and not a rewritten question.
local function enrol(state, item, kind, div)
  state.made[kind] = (state.made[kind] or 0) + 1
  item.id = div.identifier ~= "" and div.identifier or (kind .. "-" .. state.made[kind])
  if state.ids[item.id] then
    refuse(kind:gsub("^%l", string.upper), div,
      "its id #" .. item.id .. " is taken by another one. Give it an id of its own.")
  end
  state.ids[item.id] = true
  local chapter = state.chapters[#state.chapters]
  chapter[kind] = (chapter[kind] or 0) + 1
  item.number = chapter[kind]
  item.sort = kind
  local digest = pandoc.utils.sha1(item.words or own_words(div.content)):sub(1, 12)
  state.keys[digest] = (state.keys[digest] or 0) + 1
  item.key = digest .. (state.keys[digest] > 1 and "-" .. state.keys[digest] or "")
  table.insert(chapter.items, item)
end

local function add_files_in_quarto()
  if not quarto then return end
  quarto.doc.add_html_dependency({
    name = "handbook-quiz",
    version = "1.0.0",
    scripts = {
      -- these two listen to quiz.js, so they come first
      { path = "assessment.js", afterBody = true },
      { path = "exercise.js", afterBody = true },
      { path = "quiz.js", afterBody = true },
      { path = "explorer.js", afterBody = true },
    },
    stylesheets = { "quiz.css", "exercise.css", "explorer.css", "assessment.css", "pages.css" },
  })
end

-- Pandoc turns the dashes of a wide pipe table into relative widths, so that columns of numbers break
-- on pages. Without widths columns fit what is in them; paper.lua sets those of the PDF.
local function free_widths(tbl)
  tbl.colspecs = tbl.colspecs:map(function(spec) return { spec[1], pandoc.ColWidthDefault } end)
  return tbl
end

-- The name under which a chapter can be downloaded: the embedded renderer says it; for Quarto it is
-- the input's name, where a numbered chapter has code.
local function download_name(doc)
  if doc.meta["handbook-download"] then
    return pandoc.utils.stringify(doc.meta["handbook-download"])
  end
  if not quarto then return nil end
  local name = pandoc.path.filename(quarto.doc.input_file or ""):match("^(%w%w?%-[%w-]+)%.")
  local code, compares = false, false
  doc.blocks:walk({ CodeBlock = function(block)
    code = code or block.classes:includes("cell-code")
    compares = compares or block.text:match("%f[%w_.]crosscheck%(") ~= nil
  end })
  -- an appendix without models of its own reports on the book, and can't run without it
  return code and (compares or name:match("^%d") ~= nil) and name or nil
end

local function add_downloads(doc)
  local name = download_name(doc)
  if not name then return false end
  -- Quarto looks for what a link leads to among its inputs; these files appear after rendering.
  local later = quarto and " data-noresolveinput" or ""
  local line = pandoc.RawBlock("html", ('<p class="hb-downloads">Take this chapter with you: '
    .. '<a href="%s.ipynb" download%s>notebook</a> or <a href="%s.py" download%s>script</a>.</p>')
    :format(name, later, name, later))
  local first = doc.blocks[1]
  local after_title = first and first.t == "Header" and first.level == 1
  doc.blocks:insert(after_title and 2 or 1, line)
  return true
end

-- Headings within a block would be missing from the page's contents, and on paper the block would
-- swallow the space above the first of them: only what stands between them is wrapped, on the web.
local function assessment(div, web)
  if not web then return div.content end
  local out = pandoc.Blocks({})
  for _, block in ipairs(div.content) do
    local last = out[#out]
    if block.t == "Header" then
      out:insert(block)
    elseif last and last.t == "Div" and last.classes:includes("hb-assessment") then
      last.content:insert(block)
    else
      out:insert(pandoc.Div({ block }, { "", { "hb-assessment" } }))
    end
  end
  return out
end

-- Proof and optional parts ---------------------------------------------------------------------

local function proof(div, web)
  if not web then return {} end
  local summary = div.attributes.summary
  if not summary or summary == "" then
    refuse("Proof", div, 'it has no summary. Write ::: {.proof summary="What the fold holds"}.')
  end
  local safe = summary:gsub("&", "&amp;"):gsub("<", "&lt;")
  local out = pandoc.Blocks({ html('<details class="hb-fold hb-proof" data-search-ignore>'
    .. "<summary>" .. safe .. "</summary>") })
  out:extend(div.content)
  out:insert(html("</details>"))
  return out
end

-- The embedded renderer has marked the title already, since its contents are made of it.
local function marked_optional(header)
  local marked = false
  header.content:walk({ Span = function(span)
    marked = marked or span.classes:includes("hb-optional-mark")
  end })
  if marked then return nil end
  local mark = pandoc.Span({ pandoc.Str("(optional)") }, { "", { "hb-optional-mark" } })
  header.content:extend({ pandoc.Space(), mark })
  return header
end

-- Quarto wraps each section by itself, with the classes of its heading.
local function optional_sections(blocks)
  local out, open = pandoc.Blocks({}), nil
  for _, block in ipairs(blocks) do
    if block.t == "Header" then
      if open and block.level <= open then
        out:insert(html("</section>"))
        open = nil
      end
      if not open and block.classes:includes("optional") then
        out:insert(html('<section class="optional">'))
        open = block.level
      end
    end
    out:insert(block)
  end
  if open then out:insert(html("</section>")) end
  return out
end

local IN_HTML = "On the web pages, the answer to a question and the reasons stand right under it."

function Pandoc(doc)
  local web = FORMAT:match("^html") ~= nil
  local state = { chapters = { { items = {} } }, made = {}, ids = {}, keys = {}, level = 0 }
  local key_level

  local terms = FORMAT == "typst" and glossary_terms(doc.blocks) or {}
  local named = {} -- functions that this chapter has named
  doc.blocks = doc.blocks:walk({
    traverse = "topdown",
    Link = function(link)
      local words = terms[link.target:match("#(gls%-[%w-]+)")]
      if words then return { link, index_mark("term", words) }, false end
    end,
    Code = function(code)
      local name = code.text:match("^([%w_]+)%(?") or ""
      if FORMAT ~= "typst" or not FUNCTIONS[name] or named[name] then return nil end
      named[name] = true
      return { code, index_mark("function", name) }
    end,
    CodeBlock = function(block)
      if not web and block.attributes["code-fold"] == "true" then return {} end
    end,
    Header = function(header)
      state.level = header.level
      if header.level == 1 then
        named = {}
        table.insert(state.chapters, { title = plain_title(header), items = {} })
      end
      if header.classes:includes("optional") then return marked_optional(header) end
    end,
    Div = function(div)
      -- before.lua gives it another name in Quarto
      if div.classes:includes("proof") or div.classes:includes("comparisons") then
        return proof(div, web)
      elseif div.classes:includes("quiz") then
        local quiz = read_quiz(div)
        enrol(state, quiz, "quiz", div)
        return (web and html_quiz or print_quiz)(quiz), false
      elseif div.classes:includes("reflection") then
        local reflection = read_reflection(div)
        enrol(state, reflection, "reflection", div)
        return (web and html_reflection or print_reflection)(reflection), false
      elseif div.classes:includes("exercise") then
        local exercise = exercises.read(div)
        enrol(state, exercise, "exercise", div)
        return (web and exercises.to_html or exercises.to_print)(exercise), false
      elseif exercises.is_part(div) then
        refuse("Solution or check", div, "it stands outside an exercise. Put it inside one.")
      elseif div.classes:includes("book-index") then
        if FORMAT ~= "typst" then return {}, false end
        return pandoc.RawBlock("typst", "#hb-index()"), false
      elseif div.classes:includes("explorer") and web then
        state.explorer = true
        return pandoc.Div(div.content, { div.identifier, { "hb-explorer" } }), false
      elseif div.classes:includes("model-answer") then
        refuse("Model answer", div, "it stands outside a reflection. Put it inside one.")
      elseif div.classes:includes("answer-key") then
        if key_level then error("There are two .answer-key blocks. Keep the last one.", 0) end
        key_level = state.level + 1
      end
    end,
  })

  doc.blocks = doc.blocks:walk({ Div = function(div)
    if div.classes:includes("assessment") then return assessment(div, web) end
  end })
  if web and not quarto then doc.blocks = optional_sections(doc.blocks) end
  if web then
    doc.blocks = doc.blocks:walk({ DefinitionList = function(list)
      local bar = not state.lettered and letters(list)
      if not bar then return nil end
      state.lettered = true
      return { bar, list }
    end })
  end
  local asked = next(state.made) ~= nil
  local offered = web and add_downloads(doc)
  if web then add_files_in_quarto() end
  if quarto and web then doc.blocks = doc.blocks:walk({ Table = free_widths }) end
  if key_level then
    doc.blocks = doc.blocks:walk({
      Div = function(div)
        if not div.classes:includes("answer-key") then return nil end
        return web and pandoc.Para({ pandoc.Str(IN_HTML) }) or answer_key(state.chapters, key_level)
      end,
    })
  elseif asked and not web then
    local attr = { "answer-key", { "unnumbered" } }
    doc.blocks:insert(pandoc.Header(1, { pandoc.Str("Answer key") }, attr))
    doc.blocks:extend(answer_key(state.chapters, 2))
  end
  return doc
end
