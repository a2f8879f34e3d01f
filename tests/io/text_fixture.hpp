// Files for the tests of text and token files: a folder of their own, gzip, and what messages say.
#pragma once

#include "core/error.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <zlib.h>

namespace sluice::testing {

/// Its paths are text, as a command line has them.
class TextFolder : public TemporaryFolder {
public:
    std::string operator/(std::string_view name) const { return (path() / name).string(); }

    /// Writes `bytes` (folders above are created) and returns the path.
    std::string write(std::string_view name, std::string_view bytes) const
    {
        const std::filesystem::path file = path() / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << bytes;
        return file.string();
    }
};

inline std::string read_whole(const std::filesystem::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// One gzip member; level 0 stores the text as it is.
inline std::string gzip(std::string_view text, int level = 6)
{
    z_stream stream{};
    BOOST_REQUIRE(deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string packed(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    BOOST_REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    packed.resize(packed.size() - stream.avail_out);
    deflateEnd(&stream);
    return packed;
}

/// Text that does not compress to nothing: the same for the same arguments.
inline std::string some_text(std::size_t bytes, std::uint32_t seed)
{
    std::string text;
    while (text.size() < bytes) {
        seed = seed * 1664525u + 1013904223u;
        const auto length = 1 + seed / 65536 % 9;
        for (std::uint32_t i = 0; i < length; ++i)
            text += static_cast<char>('a' + (seed >> (i + 8)) % 26);
        text += seed % 11 == 0 ? '\n' : ' ';
    }
    text.resize(bytes);
    return text;
}

/// `work` throws a UserError with this code whose message has all of `parts`.
inline void check_refused(ExitCode code, const std::function<void()>& work,
                          std::initializer_list<std::string> parts)
{
    try {
        work();
        BOOST_ERROR("nothing thrown");
    } catch (const UserError& error) {
        BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(code));
        BOOST_TEST(!error.remedy().empty(), error.what());
        for (const std::string& part : parts)
            BOOST_TEST(std::string(error.what()).find(part) != std::string::npos,
                       "'" << part << "' is missing in: " << error.what());
    }
}

inline void check_data_error(const std::function<void()>& work,
                             std::initializer_list<std::string> parts)
{
    check_refused(ExitCode::data, work, parts);
}

} // namespace sluice::testing
