-- Markdown, HTML and LaTeX fragments to Typst, all in one run of pandoc:
--     pandoc lua markup.lua < fragments.json > typst.json
-- In:  [{"format": "markdown" | "html" | "latex" | "caption", "text": …, "key": …, "headings": bool}, …]
-- Out: {"title": …, "typst": [code, …], "images": [[source, …], …]}, one each for every fragment.
-- Each fragment is a document of its own: nothing left open in one can reach the next.

local READERS = {
  markdown = 'gfm-emoji-yaml_metadata_block',
  caption = 'gfm-emoji-yaml_metadata_block',
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
  return typst(('#math.equation(block: %s, alt: %s, %s.body);'):format(
    display, quote((math.text:gsub('%s+', ' '))), (body:gsub('%s+$', ''))))
end

-- "Hình 3" and "Bảng 3" become links; the template leaves those without a target as they are.
local TARGETS = { ['Hình'] = 'hinh-', ['hình'] = 'hinh-', ['Bảng'] = 'bang-', ['bảng'] = 'bang-' }
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
    if noun and digits then
      result:insert(pandoc.Str(before))
      result:extend(call('goto(' .. quote(TARGETS[noun] .. digits) .. ')',
        { pandoc.Str(noun .. '\u{a0}' .. digits) }))
      result:insert(pandoc.Str(after))
      i = i + 3
    else
      -- `*word*.next` would otherwise be read by Typst as a field of the emphasis.
      local before = inlines[i - 1]
      if before and BARE_CALLS[before.t] and word.t == 'Str' and word.text:match('^%.%a') then
        result:insert(typst(';'))
      end
      result:insert(word)
      i = i + 1
    end
  end
  return result
end

-- A column without an alignment of its own goes right when all its cells are numbers.
local function align_numbers(tbl)
  local numeric, seen = {}, {}
  for _, body in ipairs(tbl.bodies) do
    for _, row in ipairs(body.body) do
      for i, cell in ipairs(row.cells) do
        cell.attr = pandoc.Attr()
        local text = pandoc.utils.stringify(cell.contents)
        seen[i] = seen[i] or text:match('%d')
        local number = text == '' or text == 'NaN' or text:match('^[-+−±]?[%d.,]+[%d.,eE+−%-%%]*$')
        numeric[i] = numeric[i] ~= false and number ~= nil
      end
    end
  end
  for i, spec in ipairs(tbl.colspecs) do
    local right = spec[1] == 'AlignDefault' and seen[i] and numeric[i]
    tbl.colspecs[i] = { right and 'AlignRight' or spec[1], nil } -- widths: the template's business
  end
end

-- A list of claims, each beginning with its verdict, which takes the place of the bullet.
local VERDICTS = { ['✓'] = true, ['✗'] = true, ['≈'] = true }
local function claims(list)
  local result = pandoc.Blocks {}
  for _, item in ipairs(list.content) do
    local words = item[1] and item[1].content
    local verdict = words and words[1] and words[1].text
    if not VERDICTS[verdict] then return nil end
    result:insert(pandoc.RawBlock('typst', '#claim[' .. verdict .. ']['))
    item[1].content = pandoc.Inlines { table.unpack(words, 3) }
    result:extend(item)
    result:insert(pandoc.RawBlock('typst', ']'))
  end
  return result
end

-- A number with its range, "97,9 (97,8–98,0)" or "97,9 [97,6; 98,2]": a line may end before the bracket only.
local function unbroken(plain)
  local text = pandoc.utils.stringify(plain)
  local mean, range = text:match('^([-−]*%d[%d.,]*) ([%[(][%d.,;–− ]*[%])])$')
  if not mean then return nil end
  local content = pandoc.Inlines { pandoc.Str(mean), pandoc.Space() }
  content:extend(call('box', { pandoc.Str(range) }))
  return pandoc.Plain(content)
end

-- What a browser does not show either: the style sheet that pandas writes into every table, and the like.
local function unseen(raw)
  local tag = raw.format == 'html' and raw.text:match('^%s*<!?([%a-]+)')
  return tag and ({ style = true, script = true, ['--'] = true })[tag:lower()]
end

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
      local content = call('heading(level: ' .. level .. ')', header.content:walk { Math = equation })
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
    BulletList = function(list) return claims(list) end,
    HorizontalRule = function() return pandoc.RawBlock('typst', '#separator') end,
    Table = function(tbl)
      align_numbers(tbl)
      tbl = tbl:walk { Plain = unbroken }
      local caption = tbl.caption.long
      tbl.caption = pandoc.Caption()
      tbl.classes = { 'typst:no-figure' }
      caption:insert(tbl)
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
    docs[i]:walk { Header = function(header) headings:insert(header) end }
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
  doc = doc:walk { Inlines = references }
  blocks:extend(doc:walk(filter(fragment, images[i])).blocks)
  blocks:insert(pandoc.RawBlock('typst', CUT))
end
local texts = {}
for text in pandoc.write(pandoc.Pandoc(blocks), 'typst', OPTIONS):gmatch('([^' .. CUT .. ']*)' .. CUT) do
  table.insert(texts, text)
end
io.write(pandoc.json.encode { title = title or '', typst = pandoc.List(texts), images = pandoc.List(images) })
