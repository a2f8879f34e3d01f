#include "io/byte_stream.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>
#include <zlib.h>

namespace sluice {

namespace {
constexpr std::size_t buffer_bytes = std::size_t{1} << 16; // most files are small
constexpr int gzip_window_bits = 15 + 16; // the largest window; a gzip wrapper is required
} // namespace

struct ByteStream::Source {
    explicit Source(const std::filesystem::path& file_path) : path(file_path), buffer(buffer_bytes)
    {
        fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            throw read_failure("cannot be opened");
        ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    ~Source()
    {
        if (inflater_ready)
            inflateEnd(&inflater);
        ::close(fd);
    }

    UserError read_failure(const std::string& what) const
    {
        return data_error(what + ": " + std::strerror(errno), path.string(),
                          "check the path and its permissions");
    }
    UserError damaged(const std::string& how) const
    {
        return data_error("damaged gzip file: " + how + " at byte " + std::to_string(offset()) +
                              " of it",
                          path.string(), "copy or download the file again, or leave it out");
    }

    std::uint64_t offset() const { return filled_offset - (end - begin); }
    std::size_t available() const { return end - begin; }

    /// Makes at least `wanted` bytes available unless the file ends before.
    void fill(std::size_t wanted)
    {
        if (available() >= wanted)
            return;
        std::memmove(buffer.data(), buffer.data() + begin, available());
        end = available();
        begin = 0;
        while (end < wanted) {
            const ssize_t got =
                retried([&] { return ::read(fd, buffer.data() + end, buffer.size() - end); });
            if (got < 0)
                throw read_failure("cannot be read");
            if (got == 0)
                return;
            end += static_cast<std::size_t>(got);
            filled_offset += static_cast<std::uint64_t>(got);
        }
    }

    bool at_gzip_magic() const
    {
        return available() >= 2 && static_cast<unsigned char>(buffer[begin]) == 0x1f &&
               static_cast<unsigned char>(buffer[begin + 1]) == 0x8b;
    }

    void start_gzip()
    {
        gzip = true;
        inflater = {};
        SLUICE_CHECK(inflateInit2(&inflater, gzip_window_bits) == Z_OK, "zlib");
        inflater_ready = true;
    }

    /// After the end of a member: another one, zero padding (as tape tools leave), or the end.
    bool next_member()
    {
        fill(2);
        if (at_gzip_magic()) {
            inflateReset(&inflater);
            return true;
        }
        while (available() > 0) {
            const bool zeros = std::all_of(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
                                           buffer.begin() + static_cast<std::ptrdiff_t>(end),
                                           [](char byte) { return byte == 0; });
            if (!zeros)
                throw damaged("something other than another gzip member follows");
            begin = end;
            fill(1);
        }
        return false;
    }

    std::size_t read_gzip(std::span<char> out)
    {
        std::size_t done = 0;
        while (done < out.size() && !finished) {
            fill(1);
            if (available() == 0)
                throw damaged("it ends in the middle");
            inflater.next_in = reinterpret_cast<Bytef*>(buffer.data() + begin);
            inflater.avail_in = static_cast<uInt>(available());
            inflater.next_out = reinterpret_cast<Bytef*>(out.data() + done);
            const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - done, 1u << 30));
            inflater.avail_out = room;
            const int result = inflate(&inflater, Z_NO_FLUSH);
            done += room - inflater.avail_out;
            begin = end - inflater.avail_in;
            if (result == Z_STREAM_END)
                finished = !next_member();
            else if (result != Z_OK)
                throw damaged(inflater.msg != nullptr ? inflater.msg : "it cannot be unpacked");
        }
        return done;
    }

    std::size_t read_plain(std::span<char> out)
    {
        std::size_t done = 0;
        while (done < out.size()) {
            fill(1);
            const std::size_t count = std::min(available(), out.size() - done);
            if (count == 0)
                break;
            std::memcpy(out.data() + done, buffer.data() + begin, count);
            begin += count;
            done += count;
        }
        return done;
    }

    std::filesystem::path path;
    int fd = -1;
    std::vector<char> buffer; ///< [begin, end) is read and not yet consumed
    std::size_t begin = 0, end = 0;
    std::uint64_t filled_offset = 0; ///< of the file, at `end`
    bool gzip = false, inflater_ready = false, finished = false;
    z_stream inflater{};
};

ByteStream::ByteStream(const std::filesystem::path& path) : source_(std::make_unique<Source>(path))
{
    source_->fill(2);
    if (source_->at_gzip_magic())
        source_->start_gzip();
    else if (path.extension() == ".gz")
        throw data_error("it is called .gz and is not a gzip file", path.string(),
                         "copy or download the file again, or rename it");
}
ByteStream::~ByteStream() = default;
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;

std::size_t ByteStream::read(std::span<char> out)
{
    return source_->gzip ? source_->read_gzip(out) : source_->read_plain(out);
}

std::uint64_t ByteStream::file_offset() const { return source_->offset(); }
bool ByteStream::is_gzip() const { return source_->gzip; }

} // namespace sluice
