// SentencePiece models: loading one, encoding and decoding with what was loaded. The library is not
// instrumented, so models are built from the input, normalisation rules above all; bit 0 of the
// first byte set, the rest is the model file itself.
#include "io/tokenizer.hpp"
#include "tests/fuzz/fuzz_input.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

using namespace sluice;

namespace {

// Protocol-buffers fields.
std::string varint(std::uint64_t value)
{
    std::string bytes;
    for (; value >= 128; value >>= 7)
        bytes += static_cast<char>(value | 128);
    return bytes + static_cast<char>(value);
}
std::string number(int field, std::uint64_t value)
{
    return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
std::string text(int field, std::string_view bytes)
{
    return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(bytes.size()).append(bytes);
}
std::string real(int field, float value)
{
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return varint(static_cast<std::uint64_t>(field) << 3 | 5) + bytes;
}
std::string piece(std::string_view bytes, float score, int type)
{
    return text(1, text(1, bytes) + real(2, score) + number(3, static_cast<std::uint64_t>(type)));
}

constexpr std::array scores{-1.0F,
                            -2.5F,
                            0.0F,
                            -100.0F,
                            1e30F,
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()};

std::string usual_pieces()
{
    return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) +
           piece("\xE2\x96\x81", -1, 1) + piece("e", -2, 1);
}

std::string byte_pieces()
{
    std::string pieces;
    for (int byte = 0; byte < 256; ++byte) {
        constexpr std::string_view digits = "0123456789ABCDEF";
        const std::string name{'<', '0', 'x', digits[byte / 16], digits[byte % 16], '>'};
        pieces += piece(name, 0, 6);
    }
    return pieces;
}

std::string pieces(fuzz::Choices& choices)
{
    static const std::string usual = usual_pieces(), bytes = byte_pieces();
    std::string model = usual;
    for (int left = choices.byte() % 12; left > 0; --left) {
        const std::uint8_t kind = choices.byte();
        std::string name;
        for (int length = choices.byte() % 6; length > 0; --length)
            name += static_cast<char>(std::max<std::uint8_t>(choices.byte(), 1)); // NUL: corpus
        model += piece(name, scores[kind % scores.size()], kind / 8 % 8);
    }
    return choices.byte() & 1 ? model + bytes : model;
}

/// A trie of 256 or 512 units, most of them empty, and replacements behind it.
std::string normalisation(fuzz::Choices& choices)
{
    const std::uint8_t how = choices.byte();
    if (how % 4 == 0)
        return {};
    if (how % 4 == 1)
        return text(2, choices.rest());
    std::string trie((how & 4) ? 2048 : 1024, '\0');
    const std::string replacements = (how & 8) ? "a\0bcd\0" : std::string("xy\0z\0", 5);
    while (!choices.empty()) {
        const std::size_t unit = choices.word() % (trie.size() / 4);
        const std::uint32_t low = choices.word(), high = choices.word();
        const std::uint32_t value = low | high << 16;
        std::memcpy(trie.data() + 4 * unit, &value, sizeof value);
    }
    const auto size = static_cast<std::uint32_t>(trie.size());
    std::string bytes(sizeof size, '\0');
    std::memcpy(bytes.data(), &size, sizeof size);
    return text(2, bytes + trie + replacements);
}

std::string model_of(fuzz::Choices& choices)
{
    const std::uint8_t how = choices.byte();
    if (how & 1)
        return std::string(choices.rest());
    std::string model = pieces(choices);
    const std::uint8_t trainer = choices.byte();
    model += text(2, number(3, trainer % 8) + number(35, trainer >> 3 & 1) +
                         number(24, trainer >> 4 & 1)); // type, byte fallback, blanks as suffix
    const std::string rules = normalisation(choices);
    model += text(3, rules + number(3, how >> 1 & 1) + number(4, how >> 2 & 1) +
                         number(5, how >> 3 & 1));
    return how & 16 ? model + text(5, rules) : model;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzz::MemoryFile file;
    fuzz::Choices choices(data, size);
    file.hold(model_of(choices));
    std::unique_ptr<Tokenizer> tokenizer;
    if (!fuzz::accepted([&] { tokenizer = make_sentencepiece_tokenizer(file.path()); }))
        return 0;
    fuzz::accepted([&] {
        static const std::string every_byte = [] {
            std::string bytes;
            for (int byte = 0; byte < 256; ++byte)
                bytes += {static_cast<char>(byte), static_cast<char>(255 - byte)};
            return bytes;
        }();
        std::vector<std::uint32_t> ids;
        for (const std::string_view text :
             {std::string_view("The gate opens\n"), std::string_view(""), std::string_view("\xC3"),
              std::string_view(every_byte)})
            tokenizer->encode(text, ids);
        for (const std::uint32_t id : ids)
            fuzz::require(id < tokenizer->vocab_size(), "ids of the vocabulary");
        tokenizer->decode(ids);
        fuzz::require(tokenizer->end_token() < tokenizer->vocab_size(), "an end token");
    });
    return 0;
}
