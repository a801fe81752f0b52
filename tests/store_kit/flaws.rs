//! What can be wrong with a store in memory.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    Nothing,
    // Who is let in, and for how long.
    /// Everybody is let in.
    NoLock,
    /// Who comes by another value of the store is let in.
    LockPerValue,
    /// Who comes by the same value once more is let in.
    ReentrantValue,
    /// Who comes from the same thread once more is let in.
    ReentrantThread,
    /// Who waits too long hears of an error, but not that it is a matter of time.
    OtherKind,
    /// Nobody waits: the section is free at once, or not at all.
    NeverWaits,
    /// Who has no time to wait is not let into a free section either.
    NeverAtOnce,
    /// Who has waited too long frees the section as if it had been in it.
    TimeoutFrees,
    /// A time-out ends no wait.
    WaitsForEver,
    /// Nothing can be read while somebody is in the section, and whoever tries waits.
    LoadWaits,
    /// A save waits for the section that it is made in.
    SaveWaits,
    /// The end of a section frees nothing.
    NeverLeft,
    /// The end of a section frees nothing if its holder panics.
    KeptByPanic,
    /// The end of a section frees nothing if its save has failed.
    KeptByFailure,
    /// Nobody can go in after a panic, without a panic.
    PanicsAfterPanic,
    // What is read.
    /// A save is two steps, and a reader sees the state between them.
    HalfSaves,
    /// A save does nothing.
    NoSave,
    /// A save is made when the section ends.
    SavesAtTheEnd,
    /// What is saved is in the value that it is saved by.
    SavesForItself,
    /// A value of the store reads what it has read or saved before.
    Stale,
    /// The same for what is read in the section.
    StaleInside,
    /// An empty store is an error.
    EmptyIsError,
    /// `prepare` makes room, in the place of what is there.
    PrepareEmpties,
    /// A long text is cut.
    Cuts,
    /// Characters that Latin-1 has not got are question marks.
    Latin1,
    /// Letters lose their case.
    LosesCase,
    /// Blanks at a string's end are trimmed.
    Trims,
    /// Members are columns, and some have none.
    DropsMembers,
    /// All logins are one row.
    OneRow,
    // What cannot be read.
    /// What cannot be read is no token, so the store counts as empty.
    ForeignIsEmpty,
    /// The same in the section alone.
    ForeignIsEmptyInside,
    /// What cannot be read is removed, and then the store counts as empty.
    ForeignGoes,
    /// An empty text counts as none.
    BlankIsEmpty,
    /// What was set aside is there after a logout.
    AsideStays,
    // Failures.
    /// A save that fails has removed what was there.
    SaveLosesTheOld,
    /// A save that fails is no error.
    SaveSwallows,
    /// A removal that fails is no error.
    RemoveSwallows,
    /// The error of a save quotes the text.
    Quotes,
    /// Where nobody answers, the store counts as empty.
    CutIsEmpty,
    // Ends.
    /// A logout leaves the token.
    RemoveStays,
    /// A logout removes what the value reads that it is made by.
    RemoveHides,
    /// A logout counts as something that was set aside.
    LogoutIsAside,
    // More than one step in a section.
    /// Nothing can be saved after a save.
    OneSave,
    /// A second request is not allowed.
    OneHold,
    /// A save ends the section, and a second one is made whoever has saved meanwhile.
    SaveEnds,
    // A section that is lost.
    /// A save does not look whether the section still stands.
    LateSave,
    /// It looks whether somebody else is in the section.
    LateSaveIfFree,
    /// It knows that only if it has asked before.
    LateSaveUnasked,
    /// It looks whether there is another token.
    LateSaveIfEmpty,
    /// A removal does not look.
    LateRemove,
    /// A section that is lost is said to stand.
    AlwaysStands,
    /// A section that is lost is taken again where it is free.
    Revives,
    /// Who takes over a section that owes a save may send all the same.
    SpendsOwed,
}

impl Flaw {
    /// What becomes of a text that is saved.
    pub(crate) fn kept(self, text: &str) -> String {
        match self {
            Flaw::Cuts => text.chars().take(32 * 1024).collect(),
            Flaw::Latin1 => text.chars().map(|c| if u32::from(c) < 256 { c } else { '?' }).collect(),
            Flaw::LosesCase => text.to_lowercase(),
            Flaw::Trims => text.replace(" \"", "\""),
            Flaw::DropsMembers => text.replace("\"owner\"", "\"-\"").replace("\"refused\"", "\"-\""),
            _ => text.to_owned(),
        }
    }
}
