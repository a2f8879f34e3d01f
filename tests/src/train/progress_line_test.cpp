#include "src/train/progress_line.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

using namespace sluice;
using namespace std::chrono_literals;

namespace {

/// A stream into a pipe whose other end is read when asked.
class Pipe {
public:
    Pipe()
    {
        BOOST_REQUIRE(::pipe(ends_) == 0);
        stream_ = ::fdopen(ends_[1], "w");
    }
    ~Pipe()
    {
        std::fclose(stream_);
        ::close(ends_[0]);
    }
    std::FILE* stream() { return stream_; }
    std::string written() { return read_now(ends_[0]); }

    static std::string read_now(int fd)
    {
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
        std::string text;
        char chunk[4096];
        for (ssize_t got; (got = ::read(fd, chunk, sizeof chunk)) > 0;)
            text.append(chunk, static_cast<std::size_t>(got));
        return text;
    }

private:
    int ends_[2] = {};
    std::FILE* stream_ = nullptr;
};

/// A terminal of `columns` columns.
class Terminal {
public:
    explicit Terminal(unsigned short columns, const char* kind = "xterm")
    {
        ::setenv("TERM", kind, 1);
        main_ = ::posix_openpt(O_RDWR | O_NOCTTY);
        BOOST_REQUIRE(main_ >= 0);
        BOOST_REQUIRE(::grantpt(main_) == 0);
        BOOST_REQUIRE(::unlockpt(main_) == 0);
        const int side = ::open(::ptsname(main_), O_RDWR | O_NOCTTY);
        BOOST_REQUIRE(side >= 0);
        const winsize size{24, columns, 0, 0};
        ::ioctl(side, TIOCSWINSZ, &size);
        stream_ = ::fdopen(side, "w");
    }
    ~Terminal()
    {
        std::fclose(stream_);
        ::close(main_);
    }
    std::FILE* stream() { return stream_; }
    std::string written() { return Pipe::read_now(main_); }

private:
    int main_ = -1;
    std::FILE* stream_ = nullptr;
};

} // namespace

BOOST_AUTO_TEST_SUITE(progress_line)

BOOST_AUTO_TEST_CASE(cuts_by_columns_not_bytes)
{
    BOOST_TEST(cut_to_columns("loss 3.5", 8) == "loss 3.5");
    BOOST_TEST(cut_to_columns("loss 3.51", 8) == "loss ...");
    BOOST_TEST(cut_to_columns("\xCE\xB1\xCE\xB1\xCE\xB1", 3) == "\xCE\xB1\xCE\xB1\xCE\xB1");
    BOOST_TEST(cut_to_columns("\xCE\xB1\xCE\xB1\xCE\xB1", 2) == "\xCE\xB1\xCE\xB1");
    BOOST_TEST(cut_to_columns("abc", 0) == "");
}

BOOST_AUTO_TEST_CASE(piped_output_is_plain_lines_now_and_then)
{
    Pipe pipe;
    ProgressLine line(pipe.stream(), 1h);
    BOOST_TEST(!line.is_terminal());
    BOOST_TEST(line.due());
    line.update("one");
    BOOST_TEST(!line.due());
    line.update("two");
    line.note("a note");
    line.update("three");
    BOOST_TEST(pipe.written() == "one\na note\n");
    line.finish();
    BOOST_TEST(pipe.written() == "three\n");
    line.finish();
    BOOST_TEST(pipe.written() == "");
}

BOOST_AUTO_TEST_CASE(a_dumb_terminal_gets_plain_lines)
{
    Terminal terminal(40, "dumb");
    ProgressLine line(terminal.stream(), 0ms);
    BOOST_TEST(!line.is_terminal());
    line.update("one");
    BOOST_TEST(terminal.written() == "one\r\n"); // the \r is the terminal's own
}

BOOST_AUTO_TEST_CASE(piped_lines_are_never_cut)
{
    Pipe pipe;
    ProgressLine line(pipe.stream(), 0ms);
    const std::string text(500, 'x');
    line.update(text);
    line.update("again");
    BOOST_TEST(pipe.written() == text + "\nagain\n");
}

BOOST_AUTO_TEST_CASE(a_terminal_shows_one_line_cut_to_its_width)
{
    Terminal terminal(21);
    ProgressLine line(terminal.stream());
    BOOST_TEST(line.is_terminal());
    line.update("0123456789012345678901234567890");
    BOOST_TEST(terminal.written() == "\r\033[K01234567890123456...");
    line.update("too soon");
    BOOST_TEST(terminal.written() == "");
}

BOOST_AUTO_TEST_CASE(notes_stand_above_the_line)
{
    Terminal terminal(80);
    ProgressLine line(terminal.stream());
    line.update("working");
    terminal.written();
    line.note("saved");
    BOOST_TEST(terminal.written() == "\r\033[Ksaved\r\n\r\033[Kworking");
}

BOOST_AUTO_TEST_CASE(clear_makes_room_and_finish_leaves_the_last_text)
{
    Terminal terminal(80);
    ProgressLine line(terminal.stream());
    line.update("first");
    line.update("last"); // withheld: too soon
    terminal.written();
    line.clear();
    BOOST_TEST(terminal.written() == "\r\033[K");
    line.clear();
    BOOST_TEST(terminal.written() == "");
    line.finish();
    BOOST_TEST(terminal.written() == "\r\033[Klast\r\n");
}

BOOST_AUTO_TEST_CASE(nothing_happens_without_an_update)
{
    Pipe pipe;
    {
        ProgressLine line(pipe.stream());
        line.clear();
    }
    BOOST_TEST(pipe.written() == "");
}

BOOST_AUTO_TEST_SUITE_END()
