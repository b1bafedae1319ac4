"""What the planted speakers say: sentences written for this project, rich in lips that meet, bite and round."""

from __future__ import annotations

SENTENCES: tuple[str, ...] = tuple(
    line
    for line in """
Bob may bring my purple map before supper.
The puppy jumped up, and the baby laughed.
My mother moved the wooden boots by the door.
Five foxes found a cave above the valley.
We pumped the pool full of warm blue water.
Papa bought a bamboo broom for the balcony.
Move the white van over by the river, please.
Who knew the moon would look so huge?
The farmer made a bowl of mushroom soup.
Every evening, fifty fans wave from the fence.
Poor Tom dropped a pot of hot apple jam.
A brave beaver built a dam below the bridge.
You should put two spoons of flour in the bowl.
Somebody bumped the lamp, but nobody got hurt.
Father offered a half of the fresh loaf.
The boy in the woods blew a loud wooden flute.
Maybe we can borrow a bigger umbrella.
Above the roof, seven doves flew north.
Pam and Ben pushed the piano up the ramp.
Mom, look at the map before you move.
The goose took a good look at the broken tool.
We walked the whole way, far from the village.
Paul always paused before he poured the coffee.
Give Vivian the silver knife for the fish.
Big waves beat upon the empty beach.
Why would one want a wooden watch?
The blue balloon popped above the bus stop.
Now the brown cow lies down by the house.
Tomorrow morning, Emma moves to Boston.
I have never ever loved a movie this much.
Fill the bath with warm, foamy water.
Abby, pass me the butter and the beef.
The choir hummed a simple tune in the chapel.
Move over, Tim, the bench is big enough.
A bumblebee buzzed beside my open book.
My uncle's voice was soft and very low.
The wolf howled, and the moon rose over the hill.
Few people believe the fable of the frozen lamb.
Put the cookbook back upon the top shelf.
Our power went off, so we lit four lamps.
Bright beams of light came from the observatory.
Who would choose to swim in the pool at noon?
Five plums and a pear make a fine breakfast.
The number above the map marks a public park.
Beth put both her palms on the warm pipe.
The plumber mumbled something about a pump.
If you have a fever, phone the office first.
Pour the pumpkin soup, then push the bowl to me.
The shop window was full of useful shoes.
Ava loves to give away her favourite gloves.
A whole family of frogs lives below the waterfall.
Part of the path was lost in the dark.
The camera is above the cupboard, by the vase.
Soup, bread, and butter were on the table.
Mumbling sheep jumped over the muddy puddle.
We moved from room to room without a word.
The cook shook salt over the smooth white fish.
Look, the bird moves its wings without a sound.
Farm women often wove very fine wool.
Both boats bobbed up and down in the bay.
The violin player never performed in public again.
I saw a small dog walk across the lawn.
Mix the mushrooms with pepper, parsley, and beans.
Help me move my bed up to the attic.
Who moved the blue boots from under the stool?
The paper boat floated far beyond the pier.
Every vowel opens the mouth in its own way.
Our father found the hammer above the furnace.
Please buy some bananas, plums, and a papaya.
The movement of his lips was hard to follow.
A warm wind blew over the wide open water.
Obviously, the problem was bigger than the budget.
The painter mixed brown and purple in a bowl.
Shoes and boots should be put by the front door.
Victor gave five violets to Eve.
My dog barks at the farmer's large car.
Robin pulled a ripe plum from the top of the tree.
The old man coughed, stopped, and walked off.
You would love the view from above the falls.
A map of Bermuda hung above my bed.
Poppy, bring the pepper and the paper napkins.
Few voices were as deep as Bruno's.
It rained, so we hummed and waited in the barn.
We must remember to feed the baby rabbit.
The bishop wore a robe of purple velvet.
Push the button twice, but do not hold it.
A group of students moved through the blue room.
He left half of the waffle for his brother.
Some problems become simple, if you map them.
The lamb hopped past, followed by a brown pup.
I would rather have a job by the ocean.
Two new spoons fell from the wooden table.
The black cat sat on that flat mat.
Bring both of the bottles up from the basement.
A fox moved softly, and the chicken ran off.
Papers flew about as the fan was moved.
Our grandmother's apple pie was the best of all.
The ambulance drove by at about half past five.
Could you put more wood on the campfire?
My lips are numb from the cold wind.
A pale blue vapour rose above the volcano.
Tom bombed the exam, but Pam passed.
Mobile homes were parked below the hill.
The mayor made a promise, and he meant it.
Who is the woman in the woollen hood?
Beyond the farm, the river bends to the west.
We bought a pound of plums for the jam.
Very few of the leaves had fallen by November.
Pop music boomed from the open window.
A moth flew above the flame of the lamp.
The rope broke, and the bucket dropped deep down.
Move your arms up, and breathe from the belly.
I hope Bob can fix the bathroom pump.
Look for a good book about the moon.
Fried potatoes and fish are my favourite food.
Marble pillars hold up the roof of the palace.
Would you watch the baby while I walk?
Father, may I have a bit of apple pie?
The bubble popped before Amber could touch it.
The moving van is blocking my driveway.
Smooth jazz and hot tea improve any bad mood.
A bear will not harm you, if you move slowly.
The smart farmer parks his large tractor far apart.
We saw five otters play in the shallow water.
No problem, I will be back before the movie.
Her voice broke off, and the phone went dead.
The bell above the shop door rang twice.
People often forget how simple a map can be.
Shape the loaf first, then bake it for an hour.
The mouse moved out of the brown boot.
Each evening, my wife waters the flowers.
The boss may approve the plan before April.
Look up, the moon is above the old mill.
A few puffs of wind moved the paper boat.
My purple pyjamas have five big pockets.
We all want to hear the whole of your story.
Bobby proved that the puzzle was impossible.
The flood moved over the fields of the valley.
Mum made me wash the mud off my boots.
Oh, what a wonderful view of the ocean!
You choose the tune, and I will sing along.
The bulb above the bathtub must be fixed.
Farmers grow a lot of hops above the river.
A pilot must be calm, brave, and polite.
Move the lever up, and the pump will stop.
The poem was about a lamb and a wolf.
Did the voter give her vote to the major?
Ample portions of beef and beans were served.
Every Saturday, my family has a fish supper.
Cows chew, dogs bark, and wolves howl.
The baby blew a bubble and fell over.
I prefer the map above the wooden bench.
Two doves moved into the loft above my room.
Maple syrup is a must for pumpkin waffles.
Put the hoop on the hook above the stove.
The boy threw a ball, and the dog caught it.
Half of the vases fell from the top shelf.
Bombay and Lima are both big ports.
Whose umbrella is by the front window?
The fog moved over the harbour at five.
A pretty maple table stood beneath the map.
We were away, but the mailman left a parcel.
My aunt and her husband have a vineyard.
Please stop by, if you happen to be free.
The wooden bowl was smooth and very old.
A small bomb shook the empty building.
Mommy, may Abby come over and play?
Fifty volumes of verse fell from above.
The pear was ripe, but the plum was not.
Pour the foam off before you move the bottle.
Who put the moose poster up in the bathroom?
The bold move paid off in the end.
Every bump in the road made the cup wobble.
The fan above my bed moves the warm air.
Some poor shepherd slept beneath the bridge.
We have enough flour for five big loaves.
Now and then, Mabel hums an old ballad.
Prove it, or else give up the argument.
The puma climbed up a palm above the pool.
I bought soap, shampoo, and a toothbrush.
Vera fell in love with a famous drummer.
The huge blue whale moved off to the south.
Both my brothers have become firemen.
May I move the lamp above the mirror?
Her book was about beavers and badgers.
Our hotel room had a beautiful view.
The man by the pump wore a bright vest.
Bees hum above the purple clover.
Father put five apples in my lap.
Who would have thought that Matt was afraid?
A bamboo fence marks the back of the farm.
My voice was rough, so I sipped warm water.
Simple maps show only part of the problem.
Put off your trip until the weather improves.
The whale blew, and the boat moved away.
Mabel lives above a bakery in Vermont.
The puppet opened its mouth and mumbled.
Look how the wolf moves through the woods.
A plump robin hopped onto my palm.
The jam was warm, so the butter melted.
Every plumber has a favourite pump.
We found the map above the fireplace, under a box.
The camel stopped, bent down, and drank.
My boss fixed the problem in five minutes.
Above all, be brave and never give up.
A bowl of warm milk helps the baby sleep.
You could hear the drums from far away.
Vivid blue paint covers the whole wall.
The poor man limped up the marble steps.
Some of us believe what the prophet said.
Push up the window, and let the fumes out.
He bought a book, a lamp, and five forks.
The room was full, so we stood by the wall.
Wolves move in groups, mostly at dusk.
Fiona loves the smell of fresh bread.
The mob pushed past the palace gate.
I forgot my map, but I have my phone.
A good tooth brush should be soft.
Paula hopes to visit Peru in February.
The pump broke, and the pipe burst open.
Beautiful music moved the whole room.
My cup is full of foam and bubbles.
Would you prefer soup, or a bowl of fruit?
The brown bull moved off beyond the barn.
Never leave the oven on above five hundred.
Tim, move up, I want to be by the window.
A palm tree grew by the wooden pool bar.
We hope the fever falls before morning.
The bomber jacket was Pop's favourite.
Who threw two shoes over the roof?
Father and mother both love folk music.
The mail comes by boat every Thursday.
A moment, please, I have to move my van.
The problem is simple, but the proof is not.
The wooden puppet waved above the crowd.
I found a pebble in the shape of a heart.
Above us, the dome shone with pale blue light.
Many people move to the suburbs for space.
You must beat the butter until it is smooth.
The first movement was calm and slow.
Bill and Pam have a farm above the bay.
Fog, fumes, and foam rose from the pipe.
The lamp by my bed is far too bright.
Who pulled the rope and moved the boat?
Pepper improves almost every simple soup.
My father's father built five wooden boats.
The mouth is small, but the voice is big.
A warm bath, some soft music, and then sleep.
The poet paused, bowed, and began again.
We could move the sofa above the blue rug.
The bumper fell off above the muddy ramp.
A huge spoon hung above the tavern door.
Maybe the movie is about vampires.
Put up the poster before the board meets.
The bride wore a veil of fine white wool.
Open your mouth, and say the vowel aloud.
Poor Emma was robbed on the overnight ferry.
Five wives of farmers formed a big band.
The rabbit hopped off with a bit of bread.
Our problem is not the map, but the fog.
The tall opera house was far above the harbour.
My room has a view of the wooded park.
Both pumps work, but the valve is broken.
A famous chef prepared the beef with pepper.
The moon moved behind a thin veil of mist.
You blew it, but nobody can blame you.
Whoever wove this robe was very able.
The puppy chewed up my book and my boot.
Papa pays the bills by the fifth of the month.
The boat will move at noon, so be there before.
We have five bulbs, a fuse, and some wire.
Some bright summer morning, we will meet again.
A wooden spoon is good for smooth soup.
The vet removed the thorn from its paw.
Pamela hummed, while Bob played the banjo.
The museum has a map of the whole bay.
Look at the blue smoke above the roof.
I promised to be home before half past four.
The farmhouse was far from the main path.
Who could refuse such a beautiful view?
A bumpy bus ride made the baby fussy.
Move from the fire, or the fabric may burn.
My brother bought a boat, and then a bigger boat.
The fifth problem was about prime numbers.
The crop failed, so the farm was abandoned.
You two look good in the new uniforms.
The maple bends, but it never breaks.
A proud peacock walked past the fountain.
Above the pub, there lives a piano tuner.
We must improve the map before we publish it.
Mild weather, warm water, and an open beach.
The opal was pale, with a bit of blue fire.
Put your hand on the wall, and push.
The ball bounced off the wall, over the fence.
Evan drove five of us back to the farm.
My lamp, my book, and my bed are all I want.
The shampoo bubbles made the puppy sneeze.
Voices rose above the hum of the pump.
A job above ground would be much more fun.
The moth moved from the wool to the velvet.
Buy some bread, please, and a pound of butter.
Our tour of the moon rocks was at two.
Fresh foam from the wave covered my foot.
The hammer hit my thumb, and I howled.
The umpire was fair, and the match was superb.
Would a good cook use wood, or gas?
People love fables about clever wolves.
Obey the map, and you may find the river.
He is bald, but his beard is very full.
The paper was blank but for a purple thumbprint.
We pumped up the ball, and then we played.
She sells cheap shoes in a shabby shop.
George enjoys orange juice with ginger.
The noisy boys annoyed the royal guests.
Thirty thin thieves thought of a third theft.
Her nurse learned the words by heart.
Singing kings bring rings to the gong.
Such a huge church needs a larger porch.
Measure the treasure, then judge its usual value.
These three brothers breathe through their teeth.
Chocolate and cherries are my usual choice.
A tall stork caught a small fish at dawn.
Keep the kettle on, Katie, it is getting cold.
Ice cream is nice, yet spicy rice is nicer.
Nine tiny ants danced around the tent.
Take eight cakes to the gate, and wait.
Loud clowns crowd around the town fountain.
Yes, the yellow yacht left a year ago.
The girl turned and heard the first bird.
Coins and toys fell on the oily soil.
He hid his hat behind her huge house.
I like to ride my bike at night.
Go slowly, the road is cold and snowy.
Should we push, or is the bush too thick?
Ten red hens rested in the wet shed.
Cathy cannot catch a cat with a bag.
An orange is rounder than an egg.
Their leisure hours were spent in the garage.
Each teacher reached the beach with a lunch.
Look, a good cook took sugar from my hook.
Zebras at the zoo dozed in the haze.
Ring the long gong, and sing a strong song.
Laura saw all four horses fall on the lawn.
It is six, so sit still and sip this drink.
Deep in the sea, she sees green weeds.
The judge changed the age on the page.
No one knows how the old stone broke.
Start the car in the dark yard, Mark.
Chris quickly closed the creaky crate.
Louise chooses cool blue juice at school.
An angry eagle ate an ugly apple.
Their chair is there, near the rear stairs.
Oh no, I owe Joe a whole load of gold.
How now, do you doubt the sound of an owl?
Ask the dancer, or pass her the glass.
Eleven seconds left, said the tense guest.
The dirty shirt hurt the nervous clerk.
Do not stop, the clock in the lobby is off.
Vision and pleasure rarely go together.
Shy Sasha washed six dishes and a brush.
Whether the weather is worse, nobody says.
""".splitlines()
    if line
)
