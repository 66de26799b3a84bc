"""Why a row is not imported, in words: one text for each code. No text holds a value of the row."""

from ehc.errors import Text

REASONS: dict[str, Text] = {
    "columns": Text("列数与表头不一致。", "The row has another number of columns than the header."),
    "quote": Text("引号不配对，无法读出该行。", "A quote is opened and not closed, so the row cannot be read."),
    "encoding": Text("含有不符合所选编码的字节。", "It holds bytes that are not of the chosen encoding."),
    "required": Text("此列必填。", "This column must be filled."),
    "length": Text("内容过长。", "The cell is too long."),
    "characters": Text("含有控制字符，请删除。", "It holds control characters. Take them out."),
    "choice": Text("取值不在规定的列表中。", "Not one of the listed values."),
    "date": Text("日期格式应为 YYYY-MM-DD。", "Write the date as YYYY-MM-DD."),
    "name-length": Text("姓名为空或超过 64 个字。", "The name is empty or longer than 64 characters."),
    "name-private-use": Text(
        "姓名中有自造字，请改用 GB 18030 标准编码。", "The name has a private-use character. Use its standard code."
    ),
    "name-character": Text("姓名中有不能用于姓名的符号。", "The name has a symbol that names do not use."),
    "name-form": Text(
        "姓名至少要有一个文字，且不能以间隔号开头或结尾。", "A name has at least one letter and no dot at either end."
    ),
    "phone-form": Text(
        "请填写 11 位手机号码，或带区号的固定电话；境外号码以 + 开头。",
        "An 11-digit mobile number, a landline with its area code, or + and the country code.",
    ),
    "id-type-unknown": Text(
        "证件类型应为两位代码，例如 01、03、99。", "A document type has two digits, such as 01, 03, 99."
    ),
    "id-number-length": Text("证件号码长度不对。", "The document number has the wrong length."),
    "id-number-form": Text("证件号码与证件类型的格式不符。", "The number does not have the form of its document type."),
    "id-number-region": Text("证件号码前两位不是省级代码。", "The first two digits are not a province."),
    "id-number-date": Text(
        "证件号码第 7 至 14 位不是有效的出生日期。", "Characters 7 to 14 are not a possible birth date."
    ),
    "id-number-check": Text("证件号码的校验码不符。", "The check character does not fit the number."),
    "birth-date-mismatch": Text("出生日期与证件号码不一致。", "The birth date is not the one in the document number."),
    "birth-date-future": Text("出生日期晚于今天。", "The birth date is in the future."),
    "identity-mismatch": Text(
        "该证件已以另一姓名登记，请核对姓名与证件。",
        "The document is known under another name. Check name and document.",
    ),
    "card-cancelled": Text(
        "该居民的健康卡已注销，请到发卡机构办理恢复。",
        "This person's card was cancelled. An issuing institution can restore it.",
    ),
}
