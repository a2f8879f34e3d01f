#include "tests/fuzz/hdf5_forgery.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <hdf5.h>
#include <iterator>

namespace sluice::fuzz {

namespace {

/// The checksum of HDF5's metadata: lookup3 of Bob Jenkins (public domain), byte by byte.
std::uint32_t lookup3(std::string_view key)
{
    const auto length = static_cast<std::uint32_t>(key.size());
    std::uint32_t a = 0xdeadbeef + length, b = a, c = a;
    const auto take = [&](std::size_t at) {
        std::uint32_t word = 0;
        for (std::size_t i = 0; i < 4 && at + i < key.size(); ++i)
            word |= std::uint32_t{static_cast<unsigned char>(key[at + i])} << (8 * i);
        return word;
    };
    std::size_t at = 0;
    for (; key.size() - at > 12; at += 12) {
        a += take(at), b += take(at + 4), c += take(at + 8);
        a -= c, a ^= std::rotl(c, 4), c += b;
        b -= a, b ^= std::rotl(a, 6), a += c;
        c -= b, c ^= std::rotl(b, 8), b += a;
        a -= c, a ^= std::rotl(c, 16), c += b;
        b -= a, b ^= std::rotl(a, 19), a += c;
        c -= b, c ^= std::rotl(b, 4), b += a;
    }
    if (key.size() == at)
        return c;
    a += take(at), b += take(at + 4), c += take(at + 8);
    c ^= b, c -= std::rotl(b, 14);
    a ^= c, a -= std::rotl(c, 11);
    b ^= a, b -= std::rotl(a, 25);
    c ^= b, c -= std::rotl(b, 16);
    a ^= c, a -= std::rotl(c, 4);
    b ^= a, b -= std::rotl(a, 14);
    c ^= b, c -= std::rotl(b, 24);
    return c;
}

template <class T>
T number_at(std::string_view file, std::size_t at)
{
    T value = 0;
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
}

constexpr std::array<std::string_view, 8> signatures{"\x89HDF", "OHDR", "OCHK", "FRHP",
                                                     "FHIB",    "BTHD", "BTIN", "BTLF"};
constexpr std::size_t longest_block = 2048;
constexpr std::size_t address_bytes = 8;
constexpr std::string_view undefined_address = "\xff\xff\xff\xff\xff\xff\xff\xff";
constexpr std::uint64_t nowhere = ~std::uint64_t{0};
constexpr std::uint64_t most_possible = std::uint64_t{1} << 32;

/// Numbers that break arithmetic.
constexpr std::array<std::uint64_t, 8> edges{
    0, 1, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff};

template <class T>
void put(std::string& file, std::size_t at, T value)
{
    if (file.size() >= sizeof value)
        std::memcpy(file.data() + std::min(at, file.size() - sizeof value), &value, sizeof value);
}

void change(std::string& file, Choices& choices)
{
    const std::uint8_t operation = choices.byte();
    const std::size_t at = file.empty() ? 0 : choices.word() % file.size();
    switch (operation % 8) {
    case 0:
    case 1: put(file, at, choices.byte()); break;
    case 2: put(file, at, choices.word()); break;
    case 3: put(file, at, static_cast<std::uint32_t>(edges[choices.byte() % edges.size()])); break;
    case 4: put(file, at, edges[choices.byte() % edges.size()]); break;
    case 5: put(file, at, static_cast<std::uint64_t>(choices.word())); break;
    case 6: file.resize(at); break;
    case 7: {
        const std::size_t from = file.empty() ? 0 : choices.word() % file.size();
        const std::size_t count =
            std::min<std::size_t>(choices.byte() % 64, file.size() - std::max(from, at));
        std::memmove(file.data() + at, file.data() + from, count);
        break;
    }
    default: break;
    }
}

/// Where one of two addresses leads somewhere, so does the other.
void make_both_defined(std::string& file, std::size_t one, std::size_t other)
{
    if (number_at<std::uint64_t>(file, one) == nowhere)
        put(file, one, number_at<std::uint64_t>(file, other));
    else if (number_at<std::uint64_t>(file, other) == nowhere)
        put(file, other, number_at<std::uint64_t>(file, one));
}

/// Calls `visit(type, begin, end)` for the messages of a block that is an object header of version
/// 2 (without an order of creation, as all here) or its continuation; with no checks, for files
/// that are well.
template <class Visit>
void each_message(std::string_view block, std::size_t begin, Visit&& visit)
{
    constexpr std::size_t header_bytes = 4;
    std::size_t at = 4;
    if (block.starts_with("OHDR")) {
        const auto flags = number_at<std::uint8_t>(block, 5);
        at =
            6 + ((flags & 0x20) ? 16 : 0) + ((flags & 0x10) ? 4 : 0); // times; bounds of attributes
        at += std::size_t{1} << (flags & 3);                          // size
    } else if (!block.starts_with("OCHK")) {
        return;
    }
    while (at + header_bytes <= block.size()) {
        const std::size_t body = at + header_bytes;
        const std::size_t end = body + number_at<std::uint16_t>(block, at + 1);
        visit(number_at<std::uint8_t>(block, at), begin + body, begin + end);
        at = end;
    }
}

/// Where the values of an attribute's message begin, and how many bytes they are said to take; an
/// end behind the file where that cannot be said.
struct AttributeValues {
    std::size_t begin = 0;
    std::uint64_t num_bytes = nowhere;
};

AttributeValues values_of_attribute(std::string_view file, std::size_t message)
{
    constexpr std::size_t fixed_bytes = 9; // version, flags, three sizes, encoding
    const std::size_t type = message + fixed_bytes + number_at<std::uint16_t>(file, message + 2);
    const std::size_t space = type + number_at<std::uint16_t>(file, message + 4);
    const std::size_t values = space + number_at<std::uint16_t>(file, message + 6);
    if (type + 8 > file.size() || space + 2 > file.size())
        return {};
    std::uint64_t num_bytes = number_at<std::uint32_t>(file, type + 4);
    const std::size_t dims = space + (file[space] == 1 ? 8 : 4);
    const auto rank = static_cast<std::uint8_t>(file[space + 1]);
    for (std::size_t i = 0; i < rank; ++i)
        if (const std::size_t at = dims + 8 * i;
            at + 8 > file.size() ||
            __builtin_mul_overflow(num_bytes, number_at<std::uint64_t>(file, at), &num_bytes))
            return {};
    return {values, num_bytes};
}

} // namespace

std::string bytes_of_file(const std::filesystem::path& path)
{
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

Hdf5Forgery::Hdf5Forgery(std::string base) : base_(std::move(base))
{
    // HDF5 hands the half megabyte that it wants for every open file back to the system as it
    // closes it, unless told to keep it: most of the time went there.
    require(H5set_free_list_limits(-1, -1, -1, -1, -1, -1) >= 0, "HDF5 keeps its memory");
    for (const std::string_view signature : signatures)
        for (std::size_t begin = base_.find(signature); begin != std::string::npos;
             begin = base_.find(signature, begin + 1)) {
            const std::size_t most = std::min(longest_block, base_.size() - begin);
            for (std::size_t length = 8; length + 4 <= most; ++length)
                if (lookup3(std::string_view(base_).substr(begin, length)) ==
                    number_at<std::uint32_t>(base_, begin + length)) {
                    blocks_.emplace_back(begin, length);
                    break;
                }
        }
    require(blocks_.size() >= 2, "the base's superblock and root group have checksums");
    for (std::size_t at = base_.find(undefined_address); at != std::string::npos;
         at = base_.find(undefined_address, at + address_bytes))
        undefined_.push_back(at);
    constexpr std::uint8_t link = 6, attribute = 12;
    for (const auto& [begin, length] : blocks_)
        each_message(
            std::string_view(base_).substr(begin, length), begin,
            [&](std::uint8_t type, std::size_t from, std::size_t to) {
                if (type == attribute)
                    attributes_.push_back({from, values_of_attribute(base_, from).begin, to});
                else if (type == link && base_[from + 1] == 8) // says its type, so no hard one
                    link_sizes_.push_back(from + 4 + number_at<std::uint8_t>(base_, from + 3));
            });
}

/// HDF5 copies an attribute's values without asking whether the file has so many, and reads the
/// first byte of an external link's value even if there is none: it crashed over one of the two
/// every two thousand inputs.
void Hdf5Forgery::keep_messages_possible(std::string& file) const
{
    const auto restore = [&](std::size_t begin, std::size_t end) {
        std::memcpy(file.data() + begin, base_.data() + begin, end - begin);
    };
    for (const Attribute& attribute : attributes_) {
        if (attribute.end > file.size())
            continue;
        const AttributeValues values = values_of_attribute(file, attribute.begin);
        if (values.begin > attribute.end || values.num_bytes > attribute.end - values.begin)
            restore(attribute.begin, attribute.values);
    }
    for (const std::size_t at : link_sizes_)
        if (at + 2 <= file.size() && number_at<std::uint16_t>(file, at) == 0)
            restore(at, at + 2);
}

/// HDF5 1.10.8 crashes over addresses that no file has (corpus of contained/), which would end the
/// fuzzer every hundred inputs: places that name nothing lead into the file once they change. It
/// also reads at "nowhere" where a group has a heap of links and no index: neighbours that named
/// nothing do so together, or not at all.
void Hdf5Forgery::keep_addresses_possible(std::string& file) const
{
    std::size_t before = std::string::npos;
    for (const std::size_t at : undefined_) {
        if (at + address_bytes > file.size())
            return;
        const std::uint64_t address = number_at<std::uint64_t>(file, at);
        if (address != nowhere && address > most_possible)
            put(file, at, address % file.size());
        if (before == at - address_bytes)
            make_both_defined(file, before, at);
        before = at;
    }
}

std::string Hdf5Forgery::forged(Choices& choices) const
{
    const std::uint8_t how = choices.byte();
    if (how & 1)
        return std::string(choices.rest());
    std::string file = base_;
    while (!choices.empty())
        change(file, choices);
    keep_addresses_possible(file);
    keep_messages_possible(file);
    if (how & 2)
        return file;
    for (const auto& [begin, length] : blocks_)
        if (begin + length + 4 <= file.size())
            put(file, begin + length, lookup3(std::string_view(file).substr(begin, length)));
    return file;
}

} // namespace sluice::fuzz
