-- Markdown, HTML and LaTeX fragments to Typst, all in one run of pandoc:
--     pandoc lua markup.lua < fragments.json > typst.json
-- In:  [{"format": "markdown" | "html" | "latex", "text": …, "key": …, "headings": bool}, …]
-- Out: {"title": …, "typst": [code, …], "images": [[source, …], …]}, one each for every fragment.
-- Each fragment is a document of its own: nothing left open in one can reach the next.

local READERS = {
  markdown = 'gfm-emoji-yaml_metadata_block',
  html = 'html',
  latex = 'latex',
}
local OPTIONS = pandoc.WriterOptions { wrap_text = 'none' }

-- A JSON string is a Typst string: both know \" \\ \n, and Python has removed control characters.
local quote = pandoc.json.encode
local function typst(code) return pandoc.RawInline('typst', code) end

-- `#f(…)[inlines]`; the semicolon ends the call whatever comes next.
local function call(head, inlines)
  local result = pandoc.Inlines { typst('#' .. head .. '[') }
  result:extend(inlines)
  result:insert(typst('];'))
  return result
end

-- Raw HTML inside Markdown: write it all as HTML and read that back, so that tags meet their text.
-- Formulas travel as code with a class, which HTML keeps.
local function absorb_html(doc)
  local found = false
  local function see(raw) found = found or raw.format == 'html' end
  doc:walk { RawInline = see, RawBlock = see }
  if not found then return doc end
  doc = doc:walk { Math = function(math) return pandoc.Code(math.text, { class = math.mathtype }) end }
  doc = pandoc.read(pandoc.write(doc, 'html'), 'html')
  return doc:walk {
    Code = function(code)
      local kind = code.classes[1]
      if kind == 'InlineMath' or kind == 'DisplayMath' then return pandoc.Math(kind, code.text) end
    end,
  }
end

local function equation(math)
  if not math.text:match('%S') then return pandoc.Str('') end -- without an alt text, so no formula
  -- Pandoc takes `\|` for "parallel", which is set as a relation and not as a fence.
  local opens = false
  local tex = (' ' .. math.text):gsub('([^\\])\\|', function(before)
    opens = not opens
    return before .. (opens and '\\lVert ' or '\\rVert ')
  end)
  if opens then tex = math.text end
  local body = pandoc.write(pandoc.Pandoc { pandoc.Plain { pandoc.Math(math.mathtype, tex) } }, 'typst', OPTIONS)
  if body:sub(1, 1) ~= '$' then return pandoc.Code(math.text) end -- LaTeX that pandoc cannot read
  local display = math.mathtype == 'DisplayMath'
  local whole = display or math.text:find('\\begin', 1, true) -- no line may end inside it
  return typst(('#%s(block: %s, alt: %s, %s.body);'):format(whole and 'formula' or 'math.equation',
    display, quote((math.text:gsub('%s+', ' '))), (body:gsub('%s+$', ''))))
end

-- "Hình 3", "Bảng 3", and the section that begins with "Bài 3" or "Mục 3" become links; the template
-- leaves those without a target as they are.
local TARGETS = { ['Hình'] = 'hinh-', ['hình'] = 'hinh-', ['Bảng'] = 'bang-', ['bảng'] = 'bang-',
  ['Bài'] = 'bai-', ['bài'] = 'bai-', ['Mục'] = 'muc-', ['mục'] = 'muc-' }
local sections = {} -- "bai-3" -> label of its heading
local BARE_CALLS = { Emph = true, Strong = true, Strikeout = true, Note = true, Underline = true,
  Superscript = true, Subscript = true, SmallCaps = true }
local function references(inlines)
  local result, i = pandoc.Inlines {}, 1
  while i <= #inlines do
    local word, gap, number = inlines[i], inlines[i + 1], inlines[i + 2]
    local before, noun, digits, after
    if word.t == 'Str' and gap and number and number.t == 'Str'
        and (gap.t == 'Space' or gap.t == 'SoftBreak') then
      for name in pairs(TARGETS) do
        if word.text:sub(-#name) == name then before, noun = word.text:sub(1, -#name - 1), name end
      end
      digits, after = number.text:match('^(%d+)(.*)$')
    end
    local target = noun and digits and TARGETS[noun] .. digits
    if target and (target:match('^bai') or target:match('^muc')) then target = sections[target] end
    if target then
      result:insert(pandoc.Str(before))
      result:extend(call('goto(' .. quote(target) .. ')',
        { pandoc.Str(noun .. '\u{a0}' .. digits) }))
      result:insert(pandoc.Str(after))
      i = i + 3
    else
      -- `*word*.next` would otherwise be read by Typst as a field of the emphasis.
      local before = inlines[i - 1]
      if before and BARE_CALLS[before.t] and word.t == 'Str' and word.text:match('^%.%a') then
        result:insert(typst(';'))
      end
      -- "97,25 ± 0,33" stays on one line.
      local bound = word.t == 'Space' and number and (before.text == '±' or gap.text == '±')
      result:insert(bound and pandoc.Str('\u{a0}') or word)
      i = i + 1
    end
  end
  return result
end

-- About how wide a text is, in units of its type size.
local function width_of(text)
  text = text:gsub('\u{a0}', ' ')
  local _, wide = text:gsub('[%umw]', '')
  local _, thin = text:gsub('[%s,.;:ilt]', '')
  return 0.455 * utf8.len(text) + 0.23 * wide - 0.17 * thin
end

-- Zero-width spaces, where a long name may be broken.
local function breakable(text)
  return (text:gsub('([_/=(,.])(%a)', '%1\u{200b}%2'):gsub('(%l)(%u)', '%1\u{200b}%2'):gsub('[%w%p]+', function(word)
    return #word > 24 and word:gsub(('.'):rep(12), '%0\u{200b}') or word
  end))
end

local function rows_of(tbl)
  local rows = pandoc.List {} -- a copy: rows added to the head itself would all be repeated on every page
  rows:extend(tbl.head.rows)
  for _, body in ipairs(tbl.bodies) do
    rows:extend(body.head)
    rows:extend(body.body)
  end
  return rows
end

-- A column without an alignment of its own goes right when all its cells are numbers. Returns what each
-- column needs, at least and on one line, in units of the type size, and whether a cell spans several.
local function look(tbl)
  local least, most, numeric, seen, spans = {}, {}, {}, {}, false
  for r, row in ipairs(rows_of(tbl)) do
    for i, cell in ipairs(row.cells) do
      cell.attr = pandoc.Attr()
      local text = pandoc.utils.stringify(cell.contents)
      if r > #tbl.head.rows then
        seen[i] = seen[i] or text:match('%d')
        local number = text == '' or text == 'NaN' or text:match('^[-+−±]?[%d.,]+[%d.,eE+−%-%%]*$')
        numeric[i] = numeric[i] ~= false and number ~= nil
      end
      spans = spans or cell.col_span > 1
      most[i] = math.max(most[i] or 0, width_of(text) + 1.05)
      for word in breakable(text):gsub('\u{200b}', ' '):gmatch('%S+') do
        least[i] = math.max(least[i] or 0, width_of(word) + 1.05)
      end
    end
  end
  for i, spec in ipairs(tbl.colspecs) do
    local right = spec[1] == 'AlignDefault' and seen[i] and numeric[i]
    tbl.colspecs[i] = { right and 'AlignRight' or spec[1], nil } -- widths: the template's business
    least[i], most[i] = least[i] or 1.05, most[i] or 1.05
  end
  return least, most, spans
end

-- A table that is wider than the line gets columns that wrap, then smaller text; and what is too wide
-- even so is set in bands of columns, each beginning with the first column.
local LINE, SIZE, SMALLEST = 480, 8.5, 6 -- points
local function fit(tbl, banded)
  local least, most, spans = look(tbl)
  local need, natural = 0, 0
  for i = 1, #least do need, natural = need + least[i], natural + most[i] end
  if natural * SIZE <= LINE then return { tbl } end
  if need * (banded and SIZE or SMALLEST) > LINE and not spans and #least > 2 then
    local columns, rest, width = pandoc.List { 1 }, pandoc.List { 1 }, least[1]
    for i = 2, #least do
      width = width + least[i];
      (#columns > 1 and width * SIZE > LINE and rest or columns):insert(i)
    end
    local function only(some)
      local part = tbl:clone()
      part.colspecs = some:map(function(i) return tbl.colspecs[i] end)
      for _, row in ipairs(rows_of(part)) do
        row.cells = some:map(function(i) return row.cells[i] or pandoc.Cell {} end)
      end
      return fit(part, true)
    end
    return pandoc.Blocks(only(columns)) .. (#rest > 1 and only(rest) or {})
  end
  local size = math.max(math.min(SIZE, LINE / need), 4)
  local room = math.max(LINE / size, need)
  for i, spec in ipairs(tbl.colspecs) do
    local share = (most[i] - least[i]) / math.max(natural - need, 0.01)
    tbl.colspecs[i] = { spec[1], math.min(most[i], least[i] + (room - need) * share) / room }
  end
  tbl = tbl:walk { Str = function(s) return pandoc.Str(breakable(s.text)) end,
    Code = function(c) return pandoc.Code(breakable(c.text), c.attr) end }
  return { pandoc.RawBlock('typst', ('#sized(%.1fpt)['):format(size)), tbl, pandoc.RawBlock('typst', ']') }
end

-- What a browser does not show either: the style sheet that pandas writes into every table, and the like.
local function unseen(raw)
  local tag = raw.format == 'html' and raw.text:match('^%s*<!?([%a-]+)')
  return tag and ({ style = true, script = true, ['--'] = true })[tag:lower()]
end

local times = {} -- how often a heading's text occurs
local level, shift = 0, 0 -- the last heading's level; how many levels the title takes away

local function filter(fragment, images)
  local function image(img, alone)
    images:insert(img.src)
    local alt = pandoc.utils.stringify(img.caption)
    if alt == '' then alt = img.title ~= '' and img.title or img.src:match('[^/:,;]*$') end
    return ('#picture(%s, %s, width: %s, inline: %s);'):format(
      quote(fragment.key .. '-' .. #images), quote(alt), quote(img.attributes.width or ''), not alone)
  end
  local function paragraph(block)
    local only = #block.content == 1 and block.content[1]
    if only and only.t == 'Image' then return pandoc.RawBlock('typst', image(only, true)) end
  end
  return {
    traverse = 'topdown',
    Header = function(header)
      if not fragment.headings then return pandoc.Para { pandoc.Strong(header.content) }, false end
      level = math.max(1, math.min(header.level - shift, level + 1)) -- PDF/UA: none may be skipped
      -- A heading that comes again and again, as "Đề bài" does, is none for the contents.
      local again = level > 1 and times[pandoc.utils.stringify(header)] > 1
      local content = call(('heading(level: %d, outlined: %s, bookmarked: true)'):format(level, not again), header.content:walk { Math = equation })
      content:insert(typst(' #label(' .. quote('muc-' .. header.identifier) .. ')'))
      return pandoc.Plain(content), false
    end,
    Para = paragraph,
    Plain = paragraph,
    Figure = function(figure) return figure.content end,
    Image = function(img) return typst(image(img, false)), false end,
    Math = function(math) return equation(math), false end,
    Link = function(link)
      local content = link.content:walk { Image = function(i) return typst(image(i, false)) end,
        Math = equation }
      if link.target:match('^#') then
        local name = pandoc.text.lower(link.target:sub(2))
        return call('goto(' .. quote('muc-' .. name) .. ')', content), false
      elseif link.target:match('^%a[%w+.-]*:') then
        return call('link(' .. quote(link.target) .. ')', content), false
      end
      return content, false -- a file beside the notebook, which the reader of a PDF does not have
    end,
    HorizontalRule = function() return pandoc.RawBlock('typst', '#separator') end,
    Table = function(tbl)
      local caption = tbl.caption.long
      tbl.caption = pandoc.Caption()
      tbl.classes = { 'typst:no-figure' }
      caption:extend(fit(tbl))
      return caption
    end,
    Div = function(div) return div.content end,
    Span = function(span) return span.content end,
    RawBlock = function(raw)
      return unseen(raw) and {} or pandoc.CodeBlock(raw.text)
    end,
    RawInline = function(raw)
      if raw.format ~= 'typst' then return unseen(raw) and {} or pandoc.Code(raw.text) end
    end,
  }
end

local fragments = pandoc.json.decode(io.read('a'))
local docs, headings = {}, pandoc.List {}
for i, fragment in ipairs(fragments) do
  docs[i] = absorb_html(pandoc.read(fragment.text, READERS[fragment.format]))
  if fragment.headings then
    docs[i]:walk { Header = function(header)
      headings:insert(header)
      local name = pandoc.utils.stringify(header)
      times[name] = (times[name] or 0) + 1
      local noun, digits = name:match('^(%S+) (%d+)')
      if TARGETS[noun] then sections[TARGETS[noun] .. digits] = 'muc-' .. header.identifier end
    end }
  end
end

-- The one heading of level 1, if the notebook begins with it, is the document's title.
local title
local tops = headings:filter(function(header) return header.level == 1 end)
if #tops == 1 and headings[1].level == 1 then
  title, shift = pandoc.utils.stringify(tops[1]), 1
end

-- Written in one go, which is faster, with a character between that Python leaves in no fragment.
local CUT = '\u{1}'
local blocks, images = pandoc.Blocks {}, {}
for i, fragment in ipairs(fragments) do
  local doc = docs[i]
  if title and fragment.headings then
    doc = doc:walk { Header = function(header) if header.level == 1 then return {} end end }
  end
  images[i] = pandoc.List {}
  doc = doc:walk { traverse = 'topdown', Inlines = references,
    Header = function(header) return header, false end }
  blocks:extend(doc:walk(filter(fragment, images[i])).blocks)
  blocks:insert(pandoc.RawBlock('typst', CUT))
end
local texts = {}
for text in pandoc.write(pandoc.Pandoc(blocks), 'typst', OPTIONS):gmatch('([^' .. CUT .. ']*)' .. CUT) do
  table.insert(texts, text)
end
io.write(pandoc.json.encode { title = title or '', typst = pandoc.List(texts), images = pandoc.List(images) })
