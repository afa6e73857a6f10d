--[[ The handbook's page design in Quarto's PDF.

The pre-render step leaves what it knows in .handbook/quarto/paper.json: the Typst of the design, and
each formula as Typst with its reading in words. This filter writes tables, formulas, tab sets,
callouts and output with it, as the embedded renderer does. Without that file it leaves the document
as it is, and Quarto's own look comes out.
]]

local KEPT = "/.handbook/quarto/paper.json"

local function typst(text) return pandoc.RawBlock("typst", text) end

local function quoted(text)
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", " ") .. '"'
end

local function wrapped(start, blocks, stop)
  local out = pandoc.Blocks({ typst(start) })
  out:extend(blocks)
  out:insert(typst(stop or "]"))
  return out
end

local function read_kept()
  local file = quarto and io.open((quarto.project.directory or ".") .. KEPT, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  local whole, found = pcall(pandoc.json.decode, text, false)
  return whole and type(found) == "table" and found or nil
end

local paper = FORMAT:match("typst") and read_kept()

-- Formulas -------------------------------------------------------------------------------------

-- A formula that the pre-render step hasn't seen is read out as it is typed: PDF/UA asks for words.
local function formula(math)
  local display = math.mathtype == "DisplayMath"
  local known = paper.formulas[math.mathtype][math.text]
  if known then return known end
  local code = pandoc.write(pandoc.Pandoc({ pandoc.Plain({ math }) }), "typst"):gsub("%s+$", "")
  return ("#math.equation(block: %s, alt: %s, %s);"):format(display, quoted(math.text), code)
end

-- Quarto has put a labelled formula between the start and the end of a numbered equation.
local function equations(inlines)
  local out = pandoc.Inlines({})
  local i = 1
  while i <= #inlines do
    local math, before, after = inlines[i], inlines[i - 1], inlines[i + 1]
    if math.t ~= "Math" then
      out:insert(math)
    elseif before and after and before.t == "RawInline" and after.t == "RawInline"
      and before.text:match("^#math%.equation%(.*%[%s*$") and after.text:match("^%s*%]%)<") then
      local code = formula(math):gsub("^#math%.equation%(", ""):gsub("%);$", "")
      out[#out] = pandoc.RawInline("typst", "#math.equation(numbering: equation-numbering, "
        .. code .. after.text:gsub("^%s*%]", ""))
      i = i + 1
    else
      out:insert(pandoc.RawInline("typst", formula(math)))
    end
    i = i + 1
  end
  return out
end

-- Tables ---------------------------------------------------------------------------------------

local ALIGN = { AlignRight = "right", AlignCenter = "center" }

-- A formula's code says nothing of its width, and a reference is a word and a number.
local function length_of(cell)
  local plain = cell.contents:walk({ RawInline = function(raw)
    local shown = raw.text:match("math%.equation") or raw.text:match("^#ref%(")
    return pandoc.Str(shown and "xxxxxx" or "")
  end })
  return utf8.len(pandoc.utils.stringify(plain)) or 0
end

-- Columns fit their content, but wordy columns of a wide table share what is left.
local function widths_of(rows)
  local lengths, sum = {}, 0
  for _, row in ipairs(rows) do
    for k, cell in ipairs(row.cells) do
      lengths[k] = math.max(lengths[k] or 0, length_of(cell))
    end
  end
  for _, length in ipairs(lengths) do sum = sum + length end
  if sum <= paper.wide_table then return tostring(#lengths) end
  local widths = {}
  for k, length in ipairs(lengths) do
    widths[k] = length > paper.wordy_column and math.min(length, 200) .. "fr" or "auto"
  end
  return "(" .. table.concat(widths, ", ") .. ",)"
end

local function cells_of(rows, out)
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do out:extend(wrapped("[", cell.contents, "],")) end
  end
end

local function table_of(tbl)
  local rows = pandoc.List({ table.unpack(tbl.head.rows) })
  for _, body in ipairs(tbl.bodies) do rows:extend(body.body) end
  local aligns = tbl.colspecs:map(function(spec) return ALIGN[spec[1]] or "left" end)
  local out = pandoc.Blocks({ typst(("#hb-table(%s, (%s,),"):format(widths_of(rows),
    table.concat(aligns, ", "))) })
  if #tbl.head.rows > 0 then
    out:insert(typst("header: ("))
    cells_of(tbl.head.rows, out)
    out:insert(typst("),"))
  end
  for _, body in ipairs(tbl.bodies) do cells_of(body.body, out) end
  out:insert(typst(")"))
  return out
end

-- Blocks ---------------------------------------------------------------------------------------

-- What Quarto keeps of a title: inlines, or blocks, or one of either.
local function inlines_of(title)
  local kind = pandoc.utils.type(title)
  if kind == "Inlines" then return title end
  if kind == "Inline" then return pandoc.Inlines({ title }) end
  return pandoc.utils.blocks_to_inlines(quarto.utils.as_blocks(title))
end

local function callout_of(callout)
  if not paper.callouts[callout.type] or callout.attr.identifier ~= "" then return nil end
  local title = callout.title and inlines_of(callout.title) or {}
  if #title == 0 then
    title = { pandoc.Str(callout.type:sub(1, 1):upper() .. callout.type:sub(2)) }
  end
  local out = wrapped(('#hb-callout("%s", ['):format(callout.type), { pandoc.Plain(title) }, "], [")
  out:extend(quarto.utils.as_blocks(callout.content))
  out:insert(typst("])"))
  return out
end

local function tabset_of(tabset)
  local out = pandoc.Blocks({})
  for k = 1, #tabset.tabs do
    local tab = tabset.tabs[k]
    local title = pandoc.Plain({ pandoc.Strong(inlines_of(tab.title)) })
    out:extend(wrapped("#block(sticky: true)[", { title }))
    out:extend(quarto.utils.as_blocks(tab.content))
  end
  return out
end

local function output_of(div)
  if not div.classes:includes("cell-output") or #div.content == 0 then return nil end
  local words, code = true, true
  for _, block in ipairs(div.content) do
    words = words and (block.t == "Para" or block.t == "BulletList")
    code = code and block.t == "CodeBlock"
  end
  if words then return wrapped("#hb-said[", div.content) end
  return code and wrapped("#hb-output[", div.content) or nil
end

local function is_display(block)
  local first = block.t == "Para" and block.content[1]
  return first and first.t == "RawInline" and first.text:match("^#math%.equation%(.*block: true")
end

-- A sentence stays with the formula or the code that it leads to.
local function leading(blocks)
  local out = pandoc.Blocks({})
  for i, block in ipairs(blocks) do
    local after = blocks[i + 1]
    local code = after and (after.t == "CodeBlock" or after.t == "Div" and after.classes:includes("cell"))
    local leads = after and block.t == "Para" and not is_display(block)
      and (is_display(after) or code and pandoc.utils.stringify(block):match(":$"))
    if leads then
      out:extend(wrapped("#block(sticky: true, above: 1.05em, below: 1.05em)[", { block }))
    else
      out:insert(block)
    end
  end
  return out
end

-- Terms that lead to the glossary have no colour, whatever the template gives to links.
local function link_of(link)
  if not link.target:match("#gls%-") then return nil end
  link.content:insert(1, pandoc.RawInline("typst", "#text(fill: black)["))
  link.content:insert(pandoc.RawInline("typst", "]"))
  return link
end

-- A chapter outside of parts ends the part before it.
local partless = { Header = function(header)
  local file = (quarto.doc.file_metadata() or {}).file
  if header.level ~= 1 or not file or file.bookItemType ~= "chapter" or file.bookItemDepth ~= 0 then
    return nil
  end
  return { typst('#metadata("") <hb-part>'), header }
end }

if not paper then return {} end

return {
  { Meta = function()
    quarto.doc.include_text("in-header", paper.header)
    quarto.doc.include_text("before-body", "#show: hb-in-orange-book")
  end },
  { Inlines = equations },
  { Table = table_of, Callout = callout_of, Tabset = tabset_of, Div = output_of, Link = link_of },
  { Blocks = leading },
  -- the template's pages that hold the name of a part and nothing else: its first chapter says it
  { RawBlock = function(raw)
    local part = raw.text:match("^#part%[(.-)%]%s*$")
    if raw.text:match('^#heading%(level: 1, numbering: none%)%[Appendices%]') then
      part = "Appendices"
    end
    if part then return typst(("#metadata(%s) <hb-part>"):format(quoted(part))) end
  end },
  quarto.utils.combineFilters({ quarto.utils.file_metadata_filter(), partless }),
}
