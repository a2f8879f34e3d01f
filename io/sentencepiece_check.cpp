#include "io/sentencepiece_check.hpp"

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace sluice {

namespace {

// Field numbers of sentencepiece_model.proto.
constexpr std::uint64_t normalizer_spec = 3, denormalizer_spec = 5; // of ModelProto
constexpr std::uint64_t precompiled_charsmap = 2;                   // of NormalizerSpec

/// The fields of a protocol-buffers message, one after another.
class Fields {
public:
    explicit Fields(std::string_view message) : rest_(message) {}

    struct Field {
        std::uint64_t number = 0;
        std::string_view bytes; ///< of a text, bytes or message; empty for numbers
    };

    /// Empty at the end, and where the message is damaged.
    std::optional<Field> next()
    {
        if (rest_.empty() || damaged_)
            return std::nullopt;
        Field field;
        damaged_ = !take(field);
        return damaged_ ? std::nullopt : std::optional(field);
    }
    bool damaged() const { return damaged_; }

private:
    bool take(Field& field)
    {
        std::uint64_t key = 0, value = 0;
        if (!varint(key))
            return false;
        field.number = key >> 3;
        switch (key & 7) {
        case 0: return varint(value);
        case 1: return skip(8);
        case 2:
            if (!varint(value) || value > rest_.size())
                return false;
            field.bytes = rest_.substr(0, value);
            return skip(value);
        case 5: return skip(4);
        default: return false; // groups: no model has them
        }
    }
    bool varint(std::uint64_t& value)
    {
        value = 0;
        for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
            const auto byte = static_cast<unsigned char>(rest_.front());
            rest_.remove_prefix(1);
            value |= std::uint64_t{byte & 0x7fu} << shift;
            if (byte < 0x80)
                return true;
        }
        return false;
    }
    bool skip(std::size_t count)
    {
        if (count > rest_.size())
            return false;
        rest_.remove_prefix(count);
        return true;
    }

    std::string_view rest_;
    bool damaged_ = false;
};

// One node of a Darts-clone double array (darts.h, DoubleArrayUnit), 32 bits.
std::uint32_t label_of(std::uint32_t unit) { return unit & (0x80000000u | 0xffu); }
std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }
std::uint32_t value_of(std::uint32_t unit) { return unit & 0x7fffffffu; }
bool has_value(std::uint32_t unit) { return (unit & 0x100u) != 0; }

constexpr std::size_t most_trie_bytes = std::size_t{8} << 20; // the usual ones have 200 KB

/// Walks every path of the trie, as a search for any text would: nowhere may it leave the array or
/// give a place outside `replacements`, which are texts with a NUL behind each.
std::string problem_with_trie(const std::vector<std::uint32_t>& units,
                              std::string_view replacements)
{
    if (replacements.empty() || replacements.back() != '\0')
        return "normalisation rules are cut";
    std::vector<bool> seen(units.size());
    std::vector<std::uint32_t> open;
    // From a node at p a byte c leads to the unit at p ^ c: 256 units around p must be there.
    const auto visit = [&](std::uint32_t place) {
        if ((place | 0xffu) >= units.size())
            return false;
        if (!seen[place])
            open.push_back(place);
        seen[place] = true;
        return true;
    };
    constexpr const char* leads_out = "normalisation rules lead outside themselves";
    if (!visit(offset_of(units[0])))
        return leads_out;
    while (!open.empty()) {
        const std::uint32_t place = open.back();
        open.pop_back();
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t unit = units[place ^ byte];
            if (label_of(unit) != byte)
                continue;
            const std::uint32_t next = (place ^ byte) ^ offset_of(unit);
            if (!visit(next))
                return leads_out;
            if (has_value(unit) && value_of(units[next]) >= replacements.size())
                return leads_out;
        }
    }
    return {};
}

/// The bytes: length of the trie (u32, little-endian), the trie, the replacements.
std::string problem_with_charsmap(std::string_view bytes)
{
    std::uint32_t trie_bytes = 0;
    if (bytes.empty())
        return {};
    if (bytes.size() < sizeof trie_bytes)
        return "normalisation rules are cut";
    std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
    bytes.remove_prefix(sizeof trie_bytes);
    if (trie_bytes == 0 || trie_bytes > bytes.size() || trie_bytes % sizeof(std::uint32_t) != 0)
        return "normalisation rules are cut";
    if (trie_bytes > most_trie_bytes)
        return "normalisation rules are far too long";
    std::vector<std::uint32_t> units(trie_bytes / sizeof(std::uint32_t));
    std::memcpy(units.data(), bytes.data(), trie_bytes);
    return problem_with_trie(units, bytes.substr(trie_bytes));
}

} // namespace

std::string problem_with_normalisation(std::string_view model)
{
    Fields fields(model);
    while (const auto field = fields.next()) {
        if (field->number != normalizer_spec && field->number != denormalizer_spec)
            continue;
        Fields inner(field->bytes);
        while (const auto part = inner.next())
            if (part->number == precompiled_charsmap)
                if (std::string problem = problem_with_charsmap(part->bytes); !problem.empty())
                    return problem;
        if (inner.damaged())
            return "it is damaged";
    }
    return fields.damaged() ? "it is damaged" : std::string();
}

} // namespace sluice
