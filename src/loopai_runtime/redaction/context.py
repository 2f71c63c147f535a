"""What the words around a number say of it: a telephone, something else, or nothing.

The nearest word that says anything decides: `order no. 4829104823`, `call 4829104823`. Words are looked up whole,
in the languages that most texts have.
"""

from __future__ import annotations

import re

_WINDOW, _WORDS_BACK, _NEXT = 40, 6, 2

_PHONE = frozenset(
    """
    phone phones telephone tel telefon telefono teléfono telefone téléphone telefoon telefonu telefonnummer
    mobile mobil móvil celular cellulare cell handy gsm portable komórka cep puhelin puh tlf tfn call calls
    called caller calling dial dialed dialled ring rang fax sms whatsapp viber signal hotline voicemail reach
    reached contact contacts contacto contato contatto kontakt kontaktieren appeler appelez llame llamar chiama
    chiamare ligue ligar bel bellen ruf anruf anrufen zadzwoń text texted телефон тел телефону звоните мобильный
    номер τηλέφωνο τηλ κινητό טלפון נייד هاتف الهاتف تلفن جوال موبایل
    """.split()
)
_OTHER = frozenset(
    """
    order orders ordered id ids uid pid oid ref reference references invoice invoices bill ticket tickets case
    tracking isbn issn ean upc gtin sku asin vin imei serial batch lot part parts model build version versions
    release rev revision firmware commit hash checksum epoch timestamp timestamps ts unix time seconds ms millis
    date since account accounts acct iban bic swift card cards balance amount total sum price cost fee paid usd
    eur gbp inr jpy transaction txn payment receipt po rma shipment parcel package zip zipcode postcode postal
    code pin population count bytes size length offset row rows line lines page pages record records index seed
    port lat lon lng latitude longitude coordinates customer client user member policy contract claim patent doi
    product item article job task run session request trace span process thread chapter section isin flight
    bestellung bestellnummer auftrag rechnung rechnungsnummer kundennummer artikel konto sendung vorgang
    commande facture dossier colis compte pedido factura cuenta envío albarán fattura ordine conto fatura
    encomenda conta zamówienie faktura faktury bestelling factuur rekening beställning sipariş hesap заказ
    заказа счёт счет накладная посылка
    """.split()
)
# Scripts without spaces, or whose words a pattern of letters would cut.
_PHONE_PARTS = (
    "电话",
    "電話",
    "手机",
    "手機",
    "携帯",
    "联系",
    "聯絡",
    "連絡",
    "전화",
    "연락",
    "휴대",
    "फ़ोन",
    "फोन",
    "मोबाइल",
    "โทร",
    "ফোন",
)
_OTHER_PARTS = (
    "订单",
    "訂單",
    "单号",
    "账号",
    "帐号",
    "金额",
    "编号",
    "注文",
    "口座",
    "番号は注",
    "주문",
    "계좌",
    "ऑर्डर",
    "คำสั่งซื้อ",
)

_PART = re.compile("|".join(_PHONE_PARTS + _OTHER_PARTS))
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]+")
_ONLY_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
_SIGNS = frozenset("#$€£¥₹№")
_BEFORE_UNITS = frozenset(" %€$£¥°")
_COUNTED = re.compile(
    r"(?i)\s?(?:%|€|\$|£|¥|°|(?:units?|people|persons|users|inhabitants|customers|items|pieces|bytes|[kmg]i?b|ms|seconds|secs?"
    r"|rows|records|lines|words|tokens|points|times|years|views|downloads|votes|shares|usd|eur|gbp|chf|inr|jpy|dollars|euros"
    r"|km|kg|cm|mm|m2)\b)"
)


class Surroundings:
    """The text around numbers, which are asked about from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end, self._said = -_NEXT - 1, 0

    def leaning(self, start: int, end: int) -> int:
        """1 if the text around a number calls it a telephone number, -1 if something else, else 0.

        In a list of numbers, what is said of the first is said of all.
        """
        if not 0 <= start - self._end <= _NEXT:
            self._said = self._before(start)
        self._end = end
        if self._said <= 0 and self._text[end : end + 1] in _BEFORE_UNITS and _COUNTED.match(self._text, end):
            return -1
        return self._said

    def _before(self, start: int) -> int:
        before = self._text[max(0, start - _WINDOW) : start]
        if "[" in before:
            before = before.replace("[PHONE]", "")  # our own word says nothing
        if before.rstrip(" :.")[-1:] in _SIGNS:
            return -1
        return leaning_of(before) if before else 0


def leaning_of(words: str) -> int:
    """The same of the words before a number, or the name of a field."""
    lower = words.lower()
    plain = lower if lower.isascii() else _UNSPACED.sub(" ", lower)
    for word in plain.translate(_ONLY_LETTERS).split()[: -_WORDS_BACK - 1 : -1]:
        if word in _PHONE:
            return 1
        if word in _OTHER:
            return -1
    if plain is not lower and (parts := _PART.findall(lower)):
        return 1 if parts[-1] in _PHONE_PARTS else -1
    return 0
