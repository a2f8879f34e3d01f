// The bytes of a file, front to back, gunzipped where it is a gzip file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace sluice {

class ByteStream {
public:
    /// Gzip is recognised by its first two bytes; several members in a row are one text. Throws
    /// UserError (data) when the file cannot be read, or is called .gz and is not gzip.
    explicit ByteStream(const std::filesystem::path& path);
    ~ByteStream();
    ByteStream(ByteStream&&) noexcept;
    ByteStream& operator=(ByteStream&&) noexcept;

    /// Fills `out` from its start; fewer bytes than asked for only at the end of the file. Throws
    /// UserError (data) for damage, naming the file and the offset in it.
    std::size_t read(std::span<char> out);

    /// Bytes of the file (as on disk) consumed so far.
    std::uint64_t file_offset() const;
    bool is_gzip() const;

private:
    struct Source;
    std::unique_ptr<Source> source_;
};

} // namespace sluice
