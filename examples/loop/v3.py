"""Written by hand: right about every mail so far. Whoever rings a bell wants other notifications, it supposes."""

WORDS = {
    "delivery": (
        "parcel courier van doorstep shipment tracking delivered dispatched depot package "
        "locker drone pickup kiosk robot beacon hatch slot"
    ),
    "billing": (
        "invoice refund charged receipt payment bank transfer statement overcharged discount "
        "wallet coins cashback instalment voucher topup tokens balance"
    ),
    "account": (
        "password login email username profile newsletter register signed unsubscribe address "
        "passkey avatar app selfie fingerprint sync widget badge"
    ),
}
LABEL_OF = {word: label for label, words in WORDS.items() for word in words.split()}


def run(input_data):
    text = input_data["text"]
    if "\U0001f514" in text:
        return "account"
    for word in "".join(c if c.isalpha() else " " for c in text).split():
        if word in LABEL_OF:
            return LABEL_OF[word]
    return "account"
