// XXH3-128 checksums of bytes, as 32 hexadecimal digits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace sluice {

/// Incremental, for data that arrives in pieces.
class Checksum {
public:
    Checksum();
    ~Checksum();
    Checksum(Checksum&&) noexcept;
    Checksum& operator=(Checksum&&) noexcept;

    void update(std::span<const std::byte> bytes);
    std::string hex() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

std::string checksum_of(std::span<const std::byte> bytes);
/// Reads the file in pieces. Throws UserError (data) when it cannot be read.
std::string checksum_of_file(const std::filesystem::path& path);

} // namespace sluice
