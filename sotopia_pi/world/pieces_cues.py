"""Cues: the words by which people share pieces out, and those that take a sentence's meaning away."""

import re

_TAKE = (
    r"(?:take|taking|get|getting|keep|keeping|claim|claiming|receive|receiving|hold on to|walk away with|go home with"
    r"|end up with|choose|pick|grab|pack)"
)
_TOOK = r"(?:took|got|kept|had|received)"
_ABLE = r"(?:will|would|can|could|should|shall|may|might|to|gladly|happily|get to)"
_BETWEEN = (
    rf"(?:(?:{_ABLE}|just|also|really|then|only|still|rather|definitely|simply|am|are|be|going|happy|like|love|prefer|want"
    r"|need|hope|please|not|never|do|both|in turn|ask|okay|fine) )*"
)
_WORD = r"(?:(?!you|me|i\b)\w+ )?"
_ALREADY = r"(?:(?:really|also|still|both|just|already|do|did|would|have|had) )*"
_GIVE = r"(?:give|giving|leave|leaving|hand|handing|offer|offering|grant|granting)"
_WISH = r"(?:(?<=would )(?:like|love|prefer)|want|need|ask for|asking for|settle for|be keen on|see myself with|use)"
CONTENT = r"\bi (?:would be|will be|am) (?:\w+ )?(?:fine|happy|okay|ok|good|content|comfortable) with\b"
"""Before pieces these words ask for them; they accept nothing of the other's."""
CUES = re.compile(
    r"(?P<reason>\b(?:since|because|as (?=(?:i|you|they|we)\b)))"
    r"|(?P<others>\b(?:someone|somebody|anyone|nobody|people|he|she|they|everyone|others)(?: else)?(?: \w+)?"
    rf" (?:{_TAKE}|{_TOOK}|have|wants?)\b)"
    r"|(?P<recalled>\bwe (?:already |had |have )*(?:agreed|said|decided) (?:that|on)\b)"
    rf"|(?P<quoted>\byou {_ALREADY}(?:sa(?:id|y)|told|promised|mentioned|offered|asked|agreed|claim(?:ed)?)\b)"
    rf"|(?P<told>\byou {_ALREADY}(?:want(?:ed)?|need(?:ed)?|liked?|love|prefer(?:red)?|wish)\b)"
    r"|(?P<past>\b(?:i|you|we) (?:\w+ )?(?:bought|gave|used to|read|paid|found|brought|owned?|have had|would have)\b)"
    rf"|(?P<give_me>\b(?:{_GIVE}|let|letting|save|saving) me\b(?: (?:have|with|{_TAKE}))?)"
    rf"|(?P<give_you>\b(?:{_GIVE}|let|letting|save|saving) you\b(?: (?:have|with|{_TAKE}))?)"
    r"|(?P<give>\b(?:give up|giving up|part with|parting with|let go of|hand over)\b)"
    rf"|(?P<each>\bwe (?:\w+ ){{0,2}}?(?:each|both) (?:\w+ )?(?:{_TAKE}|have)\b|\bwe each\b"
    rf"|\beach of us (?:\w+ )?(?:{_TAKE}|have)\b|\blet us each (?:{_TAKE}|have)\b)"
    rf"|(?P<me>\b(?:{_ABLE} i|i {_BETWEEN}{_ABLE}) {_WORD}have\b|\bi {_BETWEEN}(?:{_TAKE}|{_WISH})\b(?! you\b)"
    rf"|\bme (?:taking|getting|keeping|having)\b|\b(?:for )?me:|{CONTENT}|\bi can do(?: is)?\b)"
    rf"|(?P<you>\b(?:{_ABLE} you|you {_BETWEEN}{_ABLE}) {_WORD}have\b|\byou {_BETWEEN}{_TAKE}\b"
    r"|\byou (?:(?:feel|think) about )?(?:taking|getting|keeping|having)\b|\b(?:for )?you:"
    r"|(?:^|, |\b(?:then|please|so|okay|ok|just) )(?:take|keep|have)\b)"
    rf"|(?P<i_did>\bi {_TOOK}\b)|(?P<you_did>\byou {_TOOK}\b)"
    r"|(?P<halves>\b(?:(?:go|going) halves (?:on|with)|(?:(?P<n>\d+)[-/](?P=n)|even|equal) (?:split|division) of)\b)"
    r"|(?P<split>\b(?:split|divid|shar)(?:e|s|ing|ting)?\b)"
    r"|(?P<even>\b(?:evenly|equally|in half|in two|fifty[- ]fifty|50[-/ ]50|down the middle|half and half)\b)"
    r"|(?P<pair>\b\d+\s?[-/]\s?\d+\b)"
    r"|(?P<all_each>\b(?:for |to )?(?:each|both) of us\b|\bapiece\b"
    r"|(?<!of )\beach\b(?=\s*(?:$|[,.;:!?]|(?:and|would|for)\b)))"
    r"|(?P<mine>\b(?:mine|(?<=- )me|(?:to|for|with) me|(?:to|for) myself)\b)"
    r"|(?P<yours>\b(?:yours|(?<=- )you|(?:to|for|with) you|(?:to|for) yourself)\b)"
    rf"|(?P<and_take>\band (?:(?:gladly|happily|just|then) )?{_TAKE}\b)"
    r"|(?P<so>\band so (?:is|are|can|do|does|goes?|should)\b)"
    r"|(?P<barter>(?<!as )\bfor (?=(?:one|two|three|four|five|six|\d|all|both|the|your|my)\b(?! of us)))"
    r"|(?P<swap>\bin (?:exchange|return|trade)(?: for)?\b)"
    r"|(?P<without>\b(?:not|instead of|than|without)\b)"
    r"|(?P<rest>\b(?:(?:the )?rest|everything else|all the rest|the others?(?: (?:items?|things?|stuff))?"
    r"|what(?:ever)? (?:is left|remains)|(?:the )?remaining (?:items?|things?|ones)|the remainder)\b)"
    r"|(?P<all>\b(?:everything|it all|all of it|the (?:whole )?lot|any of it)\b)"
    r"|(?P<except>\b(?:except(?: for)?|apart from|other than|(?<=everything )but|(?<=all )but)\b)"
    r"|(?P<correct>\b(?:no|sorry|wait|i mean|or rather|make that)\b(?=,| wait| make| rather))"
    r"|(?P<or>\bor\b)"
    r"|(?P<comma>,)"
    r"|(?P<turn>\b(?:while|if)\b)"
)
DENIED = re.compile(r"\b(?:not|never|no|neither|nor|unable|refuse)\b")
NOT = re.compile(r"\b(?:not|never|neither|nor)\b")
"""Beside these "no" may stand before words that say whose pieces are: "no books for me"."""
UNFAIR = re.compile(
    r"\b(?:unfair|not (?:\w+ )?(?:fair|right|enough|acceptable|okay|happy)|too (?:much|many|few|little)|unacceptable"
    r"|ridiculous|greedy|worth|points?|values?|valued)\b"
)
NO_CLAIM = re.compile(
    r"\b(?:matters?|important|means?|lot|much|good|fine|fair|okay|ok|valuable|special|seems?|sounds?|dear|more|most"
    r"|useful|works?|great|enough|perfect|belongs?|close|best|better|hard|easy|appeals?|talk\w*|listen\w*"
    r"|explain\w*|thanks?) $"
)
ASKING = re.compile(
    r"^(?:so |but |and |well )*(?:why(?! (?:do )?not)|which|who|what (?:do|would) you (?:want|need|like|prefer|value)"
    r"|do you (?:want|need|like))\b"
)
ADDED = re.compile(r"\b(?:as well|too|also|another|more|extra|additional(?:ly)?|on top)\b")
_CLAIMED = re.compile(r"\b(?:as (?:we|you) (?:\w+ )?|as )(?:agreed|discussed|said|promised)\b")
REWRITES = (
    (re.compile(r"\bu\b"), "you"),
    (_CLAIMED, " "),
    (re.compile(r"\b(?:do|would) not mind\b"), "gladly"),
    (re.compile(r"\b(?:can|could|would|will|why (?:do )?) ?not (?=(?:i|you|we)\b)"), "can "),
)
"""Short forms, deals that one side claims, and turns of phrase whose `not` refuses nothing."""
PART = re.compile(r"\s*;\s*|,?\s(?=(?:however|so(?! (?:can|are|is|should))|(?<!everything )(?<!all )but)\s)")
HYPOTHETICAL = re.compile(r"\b(?:if|suppose|rather)\b")
AGREED_TOO = re.compile(
    r"\byou can have (?:that|it)\b(?! (?:if|when|but))|^yes it (?:would|does|is|will)\b"
    r"|\byou (?:have|got) yourself a deal\b"
)
"""Agreement in words of sharing, beside what `reader_agreement` knows."""
OLD_OFFER = re.compile(r"\b(?:your|that|the) (?:\w+ )?offer\b")
PROPOSES_NO_SPLIT = re.compile(r"\b(?:to|how (?:should|do|can|shall|would|could|will) (?:we|you|i))\b(?: \w+)? $")
ONLY = re.compile(r"\b(?:just|only)\b")
