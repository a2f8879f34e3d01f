#include "core/checksum.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#include <vector>
// Compiled here, for this build's instruction set; the library's is the oldest there is.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace sluice {

struct Checksum::State {
    XXH3_state_t* hash = XXH3_createState();
    ~State() { XXH3_freeState(hash); }
};

namespace {

std::string hex_of(XXH128_hash_t hash)
{
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, hash);
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (unsigned char byte : bytes.digest) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

} // namespace

Checksum::Checksum() : state_(std::make_unique<State>())
{
    SLUICE_CHECK(state_->hash != nullptr && XXH3_128bits_reset(state_->hash) == XXH_OK,
                 "XXH3 state");
}
Checksum::~Checksum() = default;
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;

void Checksum::update(std::span<const std::byte> bytes)
{
    if (bytes.empty())
        return;
    XXH3_128bits_update(state_->hash, bytes.data(), bytes.size());
}

std::string Checksum::hex() const { return hex_of(XXH3_128bits_digest(state_->hash)); }

std::string checksum_of(std::span<const std::byte> bytes)
{
    return hex_of(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string checksum_of_file(const std::filesystem::path& path)
{
    const int file = retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    if (file < 0)
        throw file_error("open", path, errno);
    Checksum checksum;
    std::vector<std::byte> piece(std::size_t{1} << 20);
    for (;;) {
        const ssize_t got = retried([&] { return ::read(file, piece.data(), piece.size()); });
        if (got < 0) {
            const int code = errno;
            ::close(file);
            throw file_error("read", path, code);
        }
        if (got == 0)
            break;
        checksum.update(std::span(piece).first(static_cast<std::size_t>(got)));
    }
    ::close(file);
    return checksum.hex();
}

} // namespace sluice
