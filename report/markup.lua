-- Markdown, HTML and LaTeX fragments to Typst, all in one run of pandoc:
--     pandoc lua markup.lua < fragments.json > typst.json
-- In:  [{"format": one of pandoc's readers, "text": …, "key": …, "headings": bool}, …]
-- Out: {"title": …, "typst": [code, …], "images": [[source, …], …]}, one each for every fragment.
-- Each fragment is a document of its own: nothing left open in one can reach the next.

local OPTIONS = pandoc.WriterOptions { wrap_text = 'none' }

-- A JSON string is a Typst string: both know \" \\ \n, and Python has removed control characters.
local quote = pandoc.json.encode
local function typst(code) return pandoc.RawInline('typst', code) end

-- `#head[inlines]`, as a Span, so that filters go on into the inlines; the semicolon ends the call
-- whatever comes next.
local function call(head, inlines)
  return pandoc.Span(pandoc.Inlines { typst('#' .. head .. '[') } .. inlines .. { typst('];') })
end

-- Raw HTML inside Markdown: write it all as HTML and read that back, so that tags meet their text.
-- Formulas travel as code with an attribute, which HTML keeps.
local function absorb_html(doc)
  local found = false
  local function see(raw) found = found or raw.format == 'html' end
  doc:walk { RawInline = see, RawBlock = see }
  if not found then return doc end
  doc = doc:walk { Math = function(math) return pandoc.Code(math.text, { mathtype = math.mathtype }) end }
  return pandoc.read(pandoc.write(doc, 'html'), 'html')
end

-- The filters below go into what they return, but do not look at its outermost elements again: a table
-- straight inside a Div, or a formula inside a Span, must stand in its place before they run.
local UNWRAPPED = {
  Div = function(div) return div.content end,
  Span = function(span) return span.content end,
  Code = function(code)
    local kind = code.attributes.mathtype
    if kind == 'InlineMath' or kind == 'DisplayMath' then return pandoc.Math(kind, code.text) end
  end,
}

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
local TARGETS = { ['[Hh]ình'] = 'hinh-', ['[Bb]ảng'] = 'bang-', ['[Bb]ài'] = 'bai-', ['[Mm]ục'] = 'muc-' }
local sections = {} -- "bai-3" -> label of its heading

-- What a mention such as "(Hình 3)," leads to, and its text before, inside and after the link.
local function mention(text)
  for noun, kind in pairs(TARGETS) do
    local before, name, digits, after = text:match('^(.-)(' .. noun .. ') (%d+)(.*)$')
    if name then
      local target = kind .. digits
      if kind == 'bai-' or kind == 'muc-' then target = sections[target] end
      return target, before, name .. '\u{a0}' .. digits, after
    end
  end
end

local BARE_CALLS = { Emph = true, Strong = true, Strikeout = true, Note = true, Underline = true,
  Superscript = true, Subscript = true, SmallCaps = true }
local function references(inlines)
  for i, word in ipairs(inlines) do
    local last, gap, number = inlines[i - 1] or {}, inlines[i + 1], inlines[i + 2] or {}
    if word.t == 'Str' and number.t == 'Str' and (gap.t == 'Space' or gap.t == 'SoftBreak') then
      local target, before, name, after = mention(pandoc.utils.stringify { word, gap, number })
      if target then
        local link = call('goto(' .. quote(target) .. ')', pandoc.Inlines { pandoc.Str(name) })
        inlines[i] = pandoc.Span { pandoc.Str(before), link }
        inlines[i + 1], inlines[i + 2] = pandoc.Str(''), pandoc.Str(after)
      end
    elseif word.t == 'Space' and number.t and (last.text == '±' or gap.text == '±') then
      inlines[i] = pandoc.Str('\u{a0}') -- "97,25 ± 0,33" stays on one line
    end
    -- `*word*.next` would otherwise be read by Typst as a field of the emphasis.
    if BARE_CALLS[last.t] and word.t == 'Str' and word.text:match('^%.%a') then
      inlines[i] = pandoc.Span { typst(';'), inlines[i] }
    end
  end
  return inlines
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
  return (text:gsub('([_/=,.])(%a)', '%1\u{200b}%2'):gsub('(%l)(%u)', '%1\u{200b}%2'):gsub('[%w%p]+', function(word)
    return #word > 24 and word:gsub(('.'):rep(12), '%0\u{200b}') or word
  end))
end

local function rows_of(tbl)
  local rows = tbl.head.rows:clone() -- rows added to the head itself would all be repeated on every page
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

local times = {} -- how often a heading's text occurs
local level, shift = 0, 0 -- the last heading's level; how many levels the title takes away

local function filter(fragment)
  local function paragraph(block)
    if #block.content == 1 and block.content[1].t == 'Image' then
      block.content[1].attributes.alone = 'true'
      return block
    end
  end
  return {
    traverse = 'topdown',
    Header = function(header)
      if not fragment.headings then return pandoc.Para { pandoc.Strong(header.content) } end
      if header.level <= shift then return {} end -- the title
      level = math.max(1, math.min(header.level - shift, level + 1)) -- PDF/UA: none may be skipped
      -- A heading that comes again and again, as "Đề bài" does, is none for the contents.
      local again = level > 1 and times[pandoc.utils.stringify(header)] > 1
      local head = ('heading(level: %d, outlined: %s, bookmarked: true)'):format(level, not again)
      return pandoc.Plain { call(head, header.content), typst(' #label(' .. quote('muc-' .. header.identifier) .. ')') }
    end,
    Para = paragraph,
    Plain = paragraph,
    Figure = function(figure) return figure.content end,
    Image = function(img)
      fragment.images:insert(img.src)
      local alt = pandoc.utils.stringify(img.caption)
      if alt == '' then alt = img.title ~= '' and img.title or img.src:match('[^/:,;]*$') end
      return typst(('#picture(%s, %s, width: %s, inline: %s);'):format(quote(fragment.key .. '-' .. #fragment.images),
        quote(alt), quote(img.attributes.width or ''), not img.attributes.alone))
    end,
    Math = equation,
    Link = function(link)
      if link.target:match('^#') then
        return call('goto(' .. quote('muc-' .. pandoc.text.lower(link.target:sub(2))) .. ')', link.content)
      elseif link.target:match('^%a[%w+.-]*:') then
        return call('link(' .. quote(link.target) .. ')', link.content)
      end
      return pandoc.Span(link.content) -- a file beside the notebook, which the reader of a PDF does not have
    end,
    HorizontalRule = function() return pandoc.RawBlock('typst', '#separator') end,
    Table = function(tbl)
      local caption = tbl.caption.long
      tbl.caption = pandoc.Caption()
      tbl.classes = { 'typst:no-figure' }
      return caption .. fit(tbl)
    end,
  }
end

local fragments = pandoc.json.decode(io.read('a'))
local headings = pandoc.List {}
for _, fragment in ipairs(fragments) do
  fragment.doc = absorb_html(pandoc.read(fragment.text, fragment.format)):walk(UNWRAPPED)
  if fragment.headings then fragment.doc:walk { Header = function(header) headings:insert(header) end } end
end
for _, header in ipairs(headings) do
  local name = pandoc.utils.stringify(header)
  times[name] = (times[name] or 0) + 1
  for noun, kind in pairs(TARGETS) do
    local digits = name:match('^' .. noun .. ' (%d+)')
    if digits then sections[kind .. digits] = 'muc-' .. header.identifier end
  end
end

local result = { title = '', typst = pandoc.List {}, images = pandoc.List {} }
-- The one heading of level 1, if the notebook begins with it, is the document's title.
local tops = headings:filter(function(header) return header.level == 1 end)
if #tops == 1 and headings[1].level == 1 then
  result.title, shift = pandoc.utils.stringify(tops[1]), 1
end
for _, fragment in ipairs(fragments) do
  fragment.images = pandoc.List {}
  local doc = fragment.doc:walk { traverse = 'topdown', Inlines = references,
    Header = function(header) return header, false end }
  result.typst:insert(pandoc.write(doc:walk(filter(fragment)), 'typst', OPTIONS))
  result.images:insert(fragment.images)
end
io.write(pandoc.json.encode(result))
