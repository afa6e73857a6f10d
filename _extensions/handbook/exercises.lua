--[[ Exercises: a task on data, with a hint, a folded solution and, where it ends in a number or a
decision, a check. handbook.lua calls this file, for Quarto and for plain pandoc.

    ::: {.exercise #exercise-name kind="again" title="What it is about"}
    The task.

    ::: {.hint}
    Optional.
    :::

    ::: {.solution}
    Code, what it prints, and the answer in words.
    :::

    ::: {.check within="0.05" unit="kg"}        ::: {.check}
    How large is it? `{python} f"{x:.2f}"`      Which model do you report?
    :::
                                                - [ ] the first
                                                - [x] the second
                                                :::
    :::

A check with options may leave the question to the task. In HTML the hint and the solution are folds,
and exercise.js brings the check to life. In every other format the task stands in its place, and the
solution goes to the key of answers.
]]

-- What handbook.lua lends: how it refuses a source, and how its blocks look.
local shared = ...

local KINDS = { again = "Do it again", decide = "Decide and defend", mistake = "Find the mistake" }
local KIND_NAMES = "again (do it again), decide (decide and defend) or mistake (find the mistake)"
-- Quarto takes .solution for a solution of a theorem; before.lua gives it the second name
local SOLUTION = { solution = true, worked = true }

local function refuse(div, remedy)
  shared.refuse("Exercise", { content = div.attributes.title or div.content }, remedy)
end

local function class_of(block)
  if block.t ~= "Div" then return nil end
  for _, name in ipairs(block.classes) do
    if SOLUTION[name] then return "solution" end
    if name == "hint" or name == "check" then return name end
  end
end

-- Reading and checking the source --------------------------------------------------------------

-- The number that a check ends in, as a program reads it.
local function number_in(text)
  local plain = text:gsub("−", "-"):gsub("–", "-")
  if plain:match("^[+-]?%d%d?%d?,%d%d%d") then plain = plain:gsub(",", "") end
  return plain:match("^[+-]?%d*%.?%d+$") and tonumber(plain) and plain or nil
end

local function read_decision(check, list, div)
  for i, item in ipairs(list.content) do
    local letter = string.char(64 + i)
    local box, label = shared.box_of(item)
    if not box then
      refuse(div, "option " .. letter .. " of its check has no box. Begin it with [ ] or [x].")
    end
    if #label == 0 then
      refuse(div, "option " .. letter .. " of its check has no text. Write it after its box.")
    end
    if #item > 1 then
      refuse(div, "option " .. letter .. " of its check has an explanation. Put the reasons into "
        .. "the solution.")
    end
    check.options[i] = { letter = letter, label = label, right = box == "right" }
    if check.options[i].right then table.insert(check.right, letter) end
  end
  if #check.options < 2 then refuse(div, "its check needs two options or more.") end
  if #check.right == 0 then
    refuse(div, "no option of its check is right. Mark the right one with [x].")
  end
end

local function read_number(check, attributes, div)
  local last = check.question[#check.question]
  local words = last and (last.t == "Para" or last.t == "Plain") and last.content or {}
  local value = #words > 0 and words[#words].t == "Str" and number_in(words[#words].text)
  if not value then
    refuse(div, "its check ends in no number. Let its last line end in the answer as an inline "
      .. "expression, the unit as unit=\"…\", or give options begun with [ ] and [x].")
  end
  check.answer, check.shown = value, words[#words].text
  words:remove(#words)
  while #words > 0 and (words[#words].t == "Space" or words[#words].t == "SoftBreak") do
    words:remove(#words)
  end
  if #words == 0 then
    refuse(div, "its check has no question. Write it before the number.")
  end
  check.within, check.unit = tonumber(attributes.within), attributes.unit
  if not check.within or check.within < 0 then
    refuse(div, "its check has no tolerance. Write ::: {.check within=\"0.05\"}, in the unit of the "
      .. "answer.")
  end
end

local function read_check(block, div)
  local check = { question = pandoc.Blocks({}), options = {}, right = {} }
  for _, part in ipairs(block.content) do
    if shared.is_options(part) then
      if #check.options > 0 then refuse(div, "its check has two lists of options. Keep one.") end
      read_decision(check, part, div)
    elseif #check.options > 0 then
      refuse(div, "there is text after the options of its check. Put it before them.")
    else
      check.question:insert(part)
    end
  end
  if #check.options == 0 then
    read_number(check, block.attributes, div)
  elseif #check.question == 0 then -- the task has asked
    check.question:insert(pandoc.Para({ pandoc.Str("Which do you choose?") }))
  end
  return check
end

-- In Quarto a chunk's label is the id of what it shows, and may be the exercise's own.
local function without_id(blocks, id)
  return blocks:walk({ Div = function(inner)
    if inner.identifier ~= id then return nil end
    inner.identifier = ""
    return inner
  end })
end

local function read(div)
  local exercise = { task = pandoc.Blocks({}), title = div.attributes.title or "" }
  exercise.kind = KINDS[div.attributes.kind]
  if exercise.title == "" then
    refuse(div, "it has no title. Write ::: {.exercise title=\"What it is about\"}.")
  end
  if not exercise.kind then
    refuse(div, "its kind is none of " .. KIND_NAMES .. ". Write kind=\"again\", or another one.")
  end
  local order = { hint = 1, solution = 2, check = 3 }
  local last = 0
  for _, block in ipairs(div.content) do
    local part = class_of(block)
    if part then
      if order[part] <= last then
        refuse(div, "a ." .. part .. " stands twice or too late. Write the task, one .hint, one "
          .. ".solution and one .check, in this order.")
      end
      last = order[part]
      exercise[part] = part == "check" and read_check(block, div) or block.content
    elseif last > 0 then
      refuse(div, "there is text after the ." .. (last == 1 and "hint" or "solution") .. ". Put it "
        .. "before the hint, or into the solution.")
    else
      exercise.task:insert(block)
    end
  end
  if #exercise.task == 0 then refuse(div, "it has no task. Write it above the hint.") end
  if not exercise.solution or #exercise.solution == 0 then
    refuse(div, "it has no solution. Add a ::: {.solution} block with the code and the answer.")
  end
  exercise.task = without_id(exercise.task, div.identifier)
  exercise.solution = without_id(exercise.solution, div.identifier)
  -- what a browser keeps is judged anew, so that a rewritten task may keep its key
  exercise.words = exercise.title .. div.identifier .. exercise.kind
  return exercise
end

-- HTML -----------------------------------------------------------------------------------------

local html, tag = shared.html, shared.tag

local function escaped(text)
  return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub('"', "&quot;"))
end

-- The words of a check as one line beside its field; what comes before them stands above it.
local function asked(question)
  local last = question[#question]
  if last.t == "Para" or last.t == "Plain" then
    return pandoc.Blocks({ table.unpack(question, 1, #question - 1) }), last.content
  end
  return question, pandoc.Inlines({ pandoc.Str("Which do you choose?") })
end

local function html_number(exercise, out)
  local check, id = exercise.check, exercise.id .. "-answer"
  local unit = check.unit and (' <span class="hb-unit" id="%s-unit">%s</span>')
    :format(id, escaped(check.unit)) or ""
  local described = check.unit and (' aria-describedby="%s-unit"'):format(id) or ""
  local above, line = asked(check.question)
  out:extend(above)
  out:insert(pandoc.Plain(pandoc.Inlines({ tag(('<label class="hb-question" for="%s">')
    :format(id)) }) .. line .. { tag("</label>") }))
  out:insert(html(('<p class="hb-field" hidden><input type="text" id="%s" inputmode="decimal" '
    .. 'spellcheck="false"%s>%s</p>'):format(id, described, unit)))
end

local function html_decision(exercise, out)
  local check, id = exercise.check, exercise.id .. "-answer"
  local above, line = asked(check.question)
  out:extend(above)
  out:insert(html("<fieldset>"))
  out:insert(pandoc.Plain(pandoc.Inlines({ tag('<legend class="hb-question">') }) .. line
    .. { tag("</legend>") }))
  if #check.right > 1 then out:insert(html('<p class="hb-how">' .. shared.choose_all .. "</p>")) end
  local kind = #check.right > 1 and "checkbox" or "radio"
  out:insert(html('<div class="hb-options">'))
  for _, option in ipairs(check.options) do
    local own = id .. "-" .. option.letter:lower()
    local open = ('<input type="%s" id="%s" name="%s" value="%s" hidden disabled>'
      .. '<label for="%s"><span class="hb-letter">%s</span> <span class="hb-text">')
      :format(kind, own, id, option.letter, own, option.letter)
    out:insert(pandoc.Div({ pandoc.Plain(pandoc.Inlines({ tag(open) }) .. option.label
      .. { tag("</span></label>") }) }, { "", { "hb-option" } }))
  end
  out:insert(html("</div></fieldset>"))
end

local function html_check(exercise)
  local check = exercise.check
  local answer = check.answer or table.concat(check.right, ",")
  local within = check.within and (' data-hb-within="%s"'):format(check.within) or ""
  local start = '<form class="hb-form hb-own" autocomplete="off" data-search-ignore '
    .. 'data-hb-answer="%s"%s>'
  local out = pandoc.Blocks({ html(start:format(answer, within)) })
  local fill = check.answer and html_number or html_decision
  fill(exercise, out)
  local to_hint = '<button type="button" class="hb-to-hint" hidden>Show the hint</button>'
  local hint = exercise.hint and to_hint or ""
  out:insert(html('<div class="hb-actions" hidden><button type="submit" class="hb-check">Check'
    .. ' answer</button>' .. hint .. '</div>'
    .. '<div class="hb-feedback" role="status" aria-live="polite"></div></form>'))
  return out
end

local function fold(class, summary, blocks)
  local out = pandoc.Blocks({ html(('<details class="hb-fold %s" data-search-ignore><summary>%s'
    .. '</summary>'):format(class, summary)) })
  out:extend(blocks)
  out:insert(html("</details>"))
  return out
end

local function to_html(exercise)
  local out = pandoc.Blocks({ html(('<h3 class="hb-title" id="%s-title"><span class="hb-kicker">'
    .. 'Exercise %d: %s</span> %s</h3>'):format(exercise.id, exercise.number,
    exercise.kind:lower(), escaped(exercise.title))) })
  out:insert(pandoc.Div(exercise.task, { "", { "hb-task" } }))
  if exercise.hint then out:extend(fold("hb-hint", "Hint", exercise.hint)) end
  if exercise.check then out:extend(html_check(exercise)) end
  out:extend(fold("hb-solution", "Solution", exercise.solution))
  -- a list, since the names of a table come in any order
  local attributes = { { "role", "group" }, { "aria-labelledby", exercise.id .. "-title" } }
  if exercise.check then table.insert(attributes, { "data-hb-key", exercise.key }) end
  return pandoc.Div(out, { exercise.id, { "exercise", "hb-exercise" }, attributes })
end

-- Print: the task here, the solution in the key --------------------------------------------------

local LOOK = "above: 1.6em, below: 1.6em, inset: (left: 1em, y: 0.2em), "
  .. "stroke: (left: 1.5pt + luma(65%))"

local function lettered(options)
  local items = {}
  for i, option in ipairs(options) do items[i] = { pandoc.Plain(option.label) } end
  return pandoc.OrderedList(items, pandoc.ListAttributes(1, "UpperAlpha", "Period"))
end

local function to_print(exercise)
  local kind = ("Exercise %d, %s."):format(exercise.number, exercise.kind:lower())
  local out = pandoc.Blocks(shared.kept_with_next({ pandoc.Para({
    pandoc.Strong({ pandoc.Str(kind) }), pandoc.Space(),
    pandoc.Strong({ pandoc.Str(exercise.title) }),
  }) }))
  out:extend(exercise.task)
  if exercise.hint then
    out:extend(shared.prefixed({ pandoc.Emph({ pandoc.Str("Hint.") }) }, exercise.hint))
  end
  if exercise.check then
    out:extend(shared.prefixed({ pandoc.Emph({ pandoc.Str("Check.") }) }, exercise.check.question))
    if #exercise.check.right > 1 then
      out:insert(pandoc.Para({ pandoc.Emph({ pandoc.Str(shared.choose_all) }) }))
    end
    if not exercise.check.answer then out:insert(lettered(exercise.check.options)) end
  end
  out:insert(shared.link_to_answer(exercise, "Solution"))
  return shared.framed(out, exercise.id, LOOK)
end

-- What the key of answers says after the exercise's name.
local function key_words(exercise)
  local check = exercise.check
  if not check then return pandoc.Inlines({ pandoc.Str(exercise.title) }) end
  local answer = shared.listed(check.right)
  if check.answer then answer = check.shown .. (check.unit and "\u{a0}" .. check.unit or "") end
  return pandoc.Inlines({ pandoc.Str(exercise.title .. " (answer: "),
    pandoc.Strong({ pandoc.Str(answer) }), pandoc.Str(")") })
end

return {
  name = "Exercise", read = read, to_html = to_html, to_print = to_print, key_words = key_words,
  is_part = function(div) return div.classes:includes("check") or class_of(div) == "solution" end,
}
