// One line that tells how work goes on: redrawn in place on a terminal, an occasional plain line
// where output is piped into a file.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

namespace sluice {

/// Whether people see what is written there as it comes, be it by way of the launcher.
bool shows_on_terminal(std::FILE* stream);

/// Of the terminal that they see it on; 80 where it is none or does not say.
int terminal_columns(std::FILE* stream);

class ProgressLine {
public:
    using Clock = std::chrono::steady_clock;

    /// Writes to `stream` (not owned). Piped: at most one plain line every `plain_interval`.
    explicit ProgressLine(std::FILE* stream,
                          std::chrono::milliseconds plain_interval = std::chrono::seconds(10));
    ~ProgressLine(); ///< as finish()
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    /// Shows `text` (one line, UTF-8). On a terminal at most every 0.1 s, cut to its width.
    void update(std::string_view text);
    /// True when update() would draw now, for callers whose text is expensive to make.
    bool due() const;
    /// A full line of its own, above the progress line; never cut, never withheld.
    void note(std::string_view text);
    /// Removes the line from the terminal, until the next update() draws it again, so that others
    /// can write to the terminal.
    void clear();
    /// The last text stays as an ordinary line, shown even if it was withheld. Nothing when
    /// update() was never called.
    void finish();

    bool is_terminal() const { return terminal_; }

private:
    void draw();

    std::FILE* stream_;
    bool terminal_;
    std::chrono::milliseconds interval_;
    Clock::time_point last_drawn_{};
    bool ever_drawn_ = false;
    bool on_screen_ = false; ///< terminal: the cursor stands behind a drawn line
    bool withheld_ = false;  ///< text_ is newer than what was drawn
    std::string text_;
};

/// The longest beginning of `text` (UTF-8) that takes at most `columns` columns, one per code
/// point; cut texts end in "...", where that fits.
std::string cut_to_columns(std::string_view text, int columns);

} // namespace sluice
