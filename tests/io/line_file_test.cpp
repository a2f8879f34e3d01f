#include "io/line_file.hpp"

#include "core/durable_file.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace sluice;
using namespace sluice::testing;

namespace {

bool disk_fails = false;

/// The kernel reports once that it could not write, and has forgotten what.
void lose(const std::filesystem::path& path, std::size_t num_bytes)
{
    std::fstream(path).seekp(
        static_cast<std::streamoff>(std::filesystem::file_size(path) - num_bytes))
        << std::string(num_bytes, '\0');
    disk_fails = true;
}

} // namespace

/// In place of the C library's, for this whole program.
extern "C" int fsync(int descriptor)
{
    if (!disk_fails)
        return static_cast<int>(::syscall(SYS_fsync, descriptor));
    disk_fails = false;
    errno = EIO;
    return -1;
}

BOOST_AUTO_TEST_SUITE(line_file)

BOOST_AUTO_TEST_CASE(lines_that_never_came_to_disk_are_written_again)
{
    const TemporaryFolder scratch;
    const auto path = scratch / "lines";
    LineFile file(path);
    file.append("one\n");
    file.keep_refused_lines(100);
    file.append("two\n");
    file.sync();
    file.append("three\n");
    file.append("four\n");
    lose(path, 11);
    BOOST_TEST(contains(message_of([&] { file.sync(); }), "Input/output error (fsync)"));
    BOOST_TEST(contains(file.why_lines_wait(), "Input/output error (fsync)"));
    file.append("five\n");
    BOOST_TEST(file.why_lines_wait() == "");
    file.sync();
    BOOST_TEST(read_file(path) == "one\ntwo\nthree\nfour\nfive\n");
    file.append("six\n");
    lose(path, 4);
    BOOST_TEST(contains(message_of([&] { file.sync(); }), "(fsync)"));
    file.sync(); // what a save that is tried again begins with
    BOOST_TEST(read_file(path) == "one\ntwo\nthree\nfour\nfive\nsix\n");
}

BOOST_AUTO_TEST_CASE(without_being_asked_to_it_keeps_nothing)
{
    const TemporaryFolder scratch;
    LineFile file(scratch / "lines");
    file.append("one\n");
    disk_fails = true;
    BOOST_TEST(contains(message_of([&] { file.sync(); }), "(fsync)"));
    BOOST_TEST(file.why_lines_wait() == "");
    BOOST_TEST(file.size_bytes() == 4U);
}

BOOST_AUTO_TEST_CASE(more_than_it_may_keep_is_taken_on_trust)
{
    const TemporaryFolder scratch;
    const auto path = scratch / "lines";
    LineFile file(path);
    file.keep_refused_lines(10);
    file.append("one, two, three\n");
    disk_fails = true;
    BOOST_TEST(contains(message_of([&] { file.sync(); }), "(fsync)"));
    BOOST_TEST(file.size_bytes() == 16U);
    BOOST_TEST(file.why_lines_wait() == "");
    file.append("four\n");
    file.sync();
    BOOST_TEST(read_file(path) == "one, two, three\nfour\n");
}

BOOST_AUTO_TEST_CASE(no_line_is_lost_or_doubled_while_it_is_decided_what_stays)
{
    const TemporaryFolder scratch;
    const auto path = scratch / "lines";
    LineFile file(path);
    file.append("one\n");
    std::thread saves;
    file.cut([&](std::uint64_t size_bytes, const std::string& waiting) {
        saves = std::thread([&] { // as the thread of a save does
            file.append("two\n");
            file.sync();
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return LineFile::Cut{size_bytes, waiting};
    });
    saves.join();
    BOOST_TEST(read_file(path) == "one\ntwo\n");
}

BOOST_AUTO_TEST_SUITE_END()
