#include "src/train/progress_line.hpp"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/ioctl.h>
#include <unistd.h>

namespace sluice {

namespace {

constexpr std::chrono::milliseconds terminal_interval{100};
constexpr std::string_view erase_line = "\r\033[K";

/// A rank's output is a pipe to its launcher; what counts is whether the launcher's own is a
/// terminal.
std::filesystem::path terminal_of_launcher()
{
    std::error_code error;
    if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr)
        return {};
    auto target =
        std::filesystem::read_symlink("/proc/" + std::to_string(getppid()) + "/fd/2", error);
    const std::string name = target.string();
    return name.starts_with("/dev/pts/") || name.starts_with("/dev/tty") ? target
                                                                         : std::filesystem::path();
}

bool starts_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

void write_text(std::FILE* stream, std::string_view text)
{
    std::fwrite(text.data(), 1, text.size(), stream);
}

} // namespace

bool shows_on_terminal(std::FILE* stream)
{
    // TERM=dumb: such a terminal shows control characters instead of obeying them.
    if (const char* kind = std::getenv("TERM"); kind != nullptr && std::string_view(kind) == "dumb")
        return false;
    return isatty(fileno(stream)) == 1 || (stream == stderr && !terminal_of_launcher().empty());
}

int terminal_columns(std::FILE* stream)
{
    winsize size{};
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    const int launcher = open(terminal_of_launcher().c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (launcher >= 0) {
        const bool known = ioctl(launcher, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
        close(launcher);
        if (known)
            return size.ws_col;
    }
    return 80;
}

std::string cut_to_columns(std::string_view text, int columns)
{
    const auto width = static_cast<std::ptrdiff_t>(std::max(columns, 0));
    if (std::count_if(text.begin(), text.end(), starts_code_point) <= width)
        return std::string(text);
    const std::string_view mark = width >= 8 ? "..." : "";
    std::ptrdiff_t room = width - static_cast<std::ptrdiff_t>(mark.size());
    std::size_t end = 0;
    while (end < text.size() && (room > 0 || !starts_code_point(text[end])))
        room -= starts_code_point(text[end++]) ? 1 : 0;
    return std::string(text.substr(0, end)).append(mark);
}

ProgressLine::ProgressLine(std::FILE* stream, std::chrono::milliseconds plain_interval)
    : stream_(stream), terminal_(shows_on_terminal(stream)),
      interval_(terminal_ ? terminal_interval : plain_interval)
{
}

ProgressLine::~ProgressLine() { finish(); }

bool ProgressLine::due() const { return !ever_drawn_ || Clock::now() - last_drawn_ >= interval_; }

void ProgressLine::update(std::string_view text)
{
    text_ = text;
    withheld_ = true;
    if (due())
        draw();
}

void ProgressLine::draw()
{
    if (terminal_) {
        // One column stays free: a full line would wrap on some terminals.
        write_text(stream_, erase_line);
        write_text(stream_, cut_to_columns(text_, terminal_columns(stream_) - 1));
    } else {
        write_text(stream_, text_ + "\n");
    }
    std::fflush(stream_);
    on_screen_ = terminal_;
    ever_drawn_ = true;
    withheld_ = false;
    last_drawn_ = Clock::now();
}

void ProgressLine::clear()
{
    if (!on_screen_)
        return;
    write_text(stream_, erase_line);
    std::fflush(stream_);
    on_screen_ = false;
    withheld_ = true;
}

void ProgressLine::note(std::string_view text)
{
    const bool redraw = on_screen_;
    clear();
    write_text(stream_, text);
    write_text(stream_, "\n");
    std::fflush(stream_);
    if (redraw)
        draw();
}

void ProgressLine::finish()
{
    if (withheld_)
        draw();
    if (on_screen_) {
        write_text(stream_, "\n");
        std::fflush(stream_);
    }
    on_screen_ = withheld_ = false;
}

} // namespace sluice
